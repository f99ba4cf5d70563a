-- find_owed --
-- Tickets in doubt that these phones may have to be asked about: handed to an earlier session of
-- the same phone that is over. The same device; else a number in common; else, where it never
-- said who it was, a phone that says as little.
SELECT g.ord, m.id, m.session_id::text,
    m.pushed_at IS NOT NULL, m.received_at IS NOT NULL, m.ledger, m.waited_ms
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
-- that were taken and never answered too often end here.
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS g (id bigint, session_id uuid)
), heard AS MATERIALIZED (
    SELECT c.org_id, c.last_event
    FROM org_counters AS c
    WHERE c.org_id = %(org_id)s
        AND c.listens_until > clock_timestamp()
    ORDER BY c.org_id
    FOR UPDATE
), held AS MATERIALIZED (
    SELECT m.id, m.receipted >= %(max_attempts)s AS hopeless
    FROM messages AS m JOIN given AS g USING (id)
    WHERE m.org_id = %(org_id)s AND m.status = 'sending'
        AND m.session_id = g.session_id
        AND (SELECT count(*) FROM heard) >= 0
    ORDER BY m.id
    FOR UPDATE OF m
), given_again AS (
    UPDATE messages AS m
    SET status = CASE WHEN h.hopeless THEN 'failed' ELSE m.status END,
        error = CASE WHEN h.hopeless THEN 'undeliverable' END,
        error_detail = CASE WHEN h.hopeless THEN %(detail)s END,
        attempts = m.attempts + CASE WHEN h.hopeless THEN 0 ELSE 1 END,
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
    INSERT INTO events (
        org_id, id, type, message_id, direction, address_key, sim_slot, sim_digits, data
    )
    SELECT h.org_id, h.last_event + row_number() OVER (PARTITION BY h.org_id ORDER BY m.id),
        'ticket.' || m.status, m.id, m.direction, m.address_key, m.sim_slot, m.sim_digits,
        shown_message(row_to_json(m))
    FROM heard AS h JOIN given_again AS m USING (org_id)
    WHERE m.status = 'failed'
    RETURNING org_id, id
), told_upto AS (
    UPDATE org_counters AS c
    SET last_event = t.last
    FROM (SELECT org_id, max(id) AS last FROM told GROUP BY org_id) AS t
    WHERE c.org_id = t.org_id
), noted AS (
    INSERT INTO batches (batch_id, ids)
    SELECT %(batch_id)s::uuid, array_agg(id) FROM given_again
    HAVING count(*) > 0
)
SELECT id, status, address, body, sim_asked, ref, attempts FROM given_again ORDER BY id

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
    SELECT org_id, id
    FROM messages
    WHERE status = 'sending'
        AND handed_at < clock_timestamp() - make_interval(secs => %(timeout)s)
    ORDER BY org_id, id
    LIMIT 1000
), heard AS MATERIALIZED (
    SELECT c.org_id, c.last_event
    FROM org_counters AS c
    WHERE c.org_id = ANY (ARRAY(SELECT DISTINCT org_id FROM late))
        AND c.listens_until > clock_timestamp()
    ORDER BY c.org_id
    FOR UPDATE
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
    INSERT INTO events (
        org_id, id, type, message_id, direction, address_key, sim_slot, sim_digits, data
    )
    SELECT h.org_id, h.last_event + row_number() OVER (PARTITION BY h.org_id ORDER BY m.id),
        'ticket.' || m.status, m.id, m.direction, m.address_key, m.sim_slot, m.sim_digits,
        shown_message(row_to_json(m))
    FROM heard AS h JOIN changed AS m USING (org_id)
    RETURNING org_id, id
), told_upto AS (
    UPDATE org_counters AS c
    SET last_event = t.last
    FROM (SELECT org_id, max(id) AS last FROM told GROUP BY org_id) AS t
    WHERE c.org_id = t.org_id
)
SELECT org_id, id, status FROM changed
