-- find_owed --
-- Tickets in doubt that these phones may have to be asked about: handed to an earlier session of
-- the same phone that is over. The same device; else a number in common; else, where it never
-- said who it was, a phone that says as little.
SELECT g.ord, m.id, m.session_id::text,
    m.pushed_at IS NOT NULL, m.received_at IS NOT NULL, m.ledger, m.waited_ms,
    coalesce(extract(epoch FROM m.pushed_at) * 1000, 0)::bigint, m.rank
FROM json_to_recordset(%(rows)s::json) AS g (
    ord integer, org_id text, device text, numbers text[], nobody boolean
)
JOIN messages AS m ON m.org_id = g.org_id AND m.status = 'sending'
WHERE (m.phone_id = g.device
        OR starts_with(m.phone_id, 'sims:')
            AND string_to_array(substr(m.phone_id, 6), ',') && g.numbers
        OR m.phone_id = '?' AND g.nobody)
    AND NOT EXISTS (
        SELECT 1 FROM sessions AS s
        WHERE s.org_id = m.org_id AND s.session_id = m.session_id
    )
ORDER BY g.ord, m.id
LIMIT 10000

-- push_again --
-- Give tickets in doubt to the phone's present session, unless another one was quicker; those
-- that were taken and never answered too often end here, and those whose time is over or whose
-- number has opted out meanwhile.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS g (id bigint, session_id uuid)
), heard AS MATERIALIZED (
    @listening_one
), opting AS MATERIALIZED (
    @scope_one
), held AS MATERIALIZED (
    SELECT m.id, m.receipted >= %(max_attempts)s AS hopeless,
        coalesce(m.expires_at <= clock_timestamp(), false) AS late,
        @opted_out m m.sim_digits k.scope
        AS refused
    FROM messages AS m JOIN given AS g USING (id) LEFT JOIN opting AS k ON true
    WHERE m.org_id = %(org_id)s AND m.status = 'sending'
        AND m.session_id = g.session_id
        AND (SELECT count(*) FROM heard) >= 0
    ORDER BY m.id
    FOR UPDATE OF m
), given_again AS (
    UPDATE messages AS m
    SET status = CASE WHEN h.hopeless THEN 'failed' WHEN h.late THEN 'expired'
            WHEN h.refused THEN 'failed' ELSE m.status END,
        error = CASE WHEN h.hopeless THEN 'undeliverable' WHEN h.late THEN NULL
            WHEN h.refused THEN 'opted_out' END,
        error_detail = CASE WHEN h.hopeless THEN %(detail)s WHEN h.late THEN NULL WHEN h.refused
            THEN 'This number has opted out; it may have been sent before.' END,
        attempts = m.attempts + CASE WHEN h.hopeless OR h.late OR h.refused THEN 0 ELSE 1 END,
        session_id = %(session_id)s::uuid,
        phone_id = %(phone_id)s,
        ledger = %(ledger)s,
        pushed_at = NULL,
        received_at = NULL,
        waited_ms = 0
    FROM held AS h
    WHERE m.org_id = %(org_id)s AND m.id = h.id
    RETURNING m.*
), told AS (
    @tell_of_tickets given_again
    WHERE m.status <> 'sending'
    RETURNING org_id, id
), told_upto AS (
    @count_told
), noted AS (
    INSERT INTO batches (batch_id, ids)
    SELECT %(batch_id)s::uuid, array_agg(id) FROM given_again
    HAVING count(*) > 0
)
SELECT id, CASE WHEN error = 'opted_out' THEN error ELSE status END, address, body, sim_asked, ref, attempts,
    (extract(epoch FROM expires_at) * 1000)::bigint, receipt IS TRUE
FROM given_again
ORDER BY id

-- note_waits --
-- How long a plain phone was on line since the drop without having been given these again. It
-- only grows, so that a note that comes late, or twice, does no harm.
UPDATE messages AS m
SET waited_ms = greatest(m.waited_ms, g.waited_ms)
FROM json_to_recordset(%(rows)s::json) AS g (
    org_id text, id bigint, session_id uuid, waited_ms integer
)
WHERE m.org_id = g.org_id AND m.id = g.id AND m.status = 'sending'
    AND m.session_id = g.session_id
RETURNING m.id

-- requeue_unconfirmed_everywhere --
-- Tickets that a phone took and never confirmed wait again, under the same id, unless they were
-- taken and never answered too often. What somebody holds is left for the next time.
WITH late AS MATERIALIZED (
    @unconfirmed
), heard AS MATERIALIZED (
    @listening_of late
), held AS MATERIALIZED (
    SELECT m.org_id, m.id, m.receipted >= %(max_attempts)s AS hopeless
    FROM late AS l CROSS JOIN LATERAL (
        SELECT m.org_id, m.id, m.receipted
        FROM messages AS m
        WHERE m.org_id = l.org_id AND m.id = l.id AND m.status = 'sending'
            AND m.handed_at < clock_timestamp() - make_interval(secs => %(timeout)s)
        FOR UPDATE SKIP LOCKED
    ) AS m
    WHERE (SELECT count(*) FROM heard) >= 0
), changed AS (
    UPDATE messages AS m
    SET status = CASE WHEN h.hopeless THEN 'failed' ELSE 'queued' END,
        error = CASE WHEN h.hopeless THEN 'undeliverable' END,
        error_detail = CASE WHEN h.hopeless THEN %(detail)s END,
        handed_at = NULL
    FROM held AS h
    WHERE m.org_id = h.org_id AND m.id = h.id
    RETURNING m.*
), told AS (
    @tell_of_tickets changed
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT org_id, id, status FROM changed
