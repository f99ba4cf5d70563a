-- read_limits --
-- What these orgs are allowed, those of them that the operator has set something for.
SELECT l.org_id, row_to_json(l)::text
FROM org_limits AS l
WHERE l.org_id = ANY (%(org_ids)s::text[])

-- hold_limits --
-- Make a row for an org's limits, or take the one that is there; ends with the transaction.
INSERT INTO org_limits AS l (org_id) VALUES (%(org_id)s)
ON CONFLICT (org_id) DO UPDATE SET org_id = EXCLUDED.org_id
RETURNING row_to_json(l)::text

-- set_limits --
-- From now on the org is allowed this.
UPDATE org_limits
SET max_stored = %(max_stored)s,
    max_queued = %(max_queued)s,
    max_sends_per_minute = %(max_sends_per_minute)s,
    to_prefixes = %(to_prefixes)s::text[],
    queue_ttl = %(queue_ttl)s
WHERE org_id = %(org_id)s
RETURNING org_id

-- org_usage --
-- How much an org uses of what it is allowed: the last id, tickets that wait, tickets of the last
-- minute, and in how many seconds the first of these is a minute old. Nothing is counted beyond
-- what is asked for: of tickets that wait so many, and of the minute's the newest.
WITH minute AS MATERIALIZED (
    SELECT created_at
    FROM (
        SELECT m.created_at
        FROM messages AS m
        WHERE m.org_id = %(org_id)s AND m.direction = 'out'
        ORDER BY m.id DESC
        LIMIT %(sends)s
    ) AS newest
    WHERE created_at > clock_timestamp() - interval '1 minute'
)
SELECT
    coalesce((SELECT last_id FROM org_counters WHERE org_id = %(org_id)s), 0),
    (SELECT count(*) FROM (
        SELECT 1 FROM messages AS m
        WHERE m.org_id = %(org_id)s AND m.status = 'queued' AND m.not_before IS NULL
        UNION ALL
        SELECT 1 FROM messages AS m
        WHERE m.org_id = %(org_id)s AND m.status = 'queued' AND m.not_before IS NOT NULL
        LIMIT %(queued)s) AS waiting),
    (SELECT count(*) FROM minute),
    coalesce((SELECT extract(epoch FROM
        min(created_at) + interval '1 minute' - clock_timestamp()) FROM minute), 0)::float

-- count_messages --
-- How many messages of an org there are, so many at most, and the last id that was given out.
SELECT
    coalesce((SELECT last_id FROM org_counters WHERE org_id = %(org_id)s), 0),
    (SELECT count(*) FROM (
        SELECT m.id FROM messages AS m
        WHERE m.org_id = %(org_id)s
        ORDER BY m.id
        LIMIT %(most)s) AS stored)

-- hold_claims --
-- Take the turn at claiming where there is a limit to it; ends with the transaction.
SELECT pg_advisory_xact_lock(hashtext('smsd claims'))

-- count_orgs_everywhere --
-- How many orgs there are, so many at most.
SELECT count(*) FROM (SELECT org_id FROM orgs ORDER BY org_id LIMIT %(most)s) AS counted

-- orgs_with_ttl_everywhere --
-- In which orgs tickets may wait for so many seconds only, a page after one of them: where only
-- the operator's word for an org counts.
SELECT org_id, queue_ttl
FROM org_limits
WHERE queue_ttl > 0 AND org_id > %(after)s
ORDER BY org_id
LIMIT %(most)s

-- orgs_by_ttl_everywhere --
-- The same where a setting holds for all others.
SELECT o.org_id, coalesce(l.queue_ttl, %(queue_ttl)s)
FROM orgs AS o LEFT JOIN org_limits AS l USING (org_id)
WHERE o.org_id > %(after)s AND coalesce(l.queue_ttl, %(queue_ttl)s) > 0
ORDER BY o.org_id
LIMIT %(most)s

-- expire_tickets --
-- Tickets that waited for longer than their org allows and that no phone was ever given end; one
-- that was to be sent later has waited since then. The queues of each org are found one by one, and
-- of each and of each priority the oldest are looked at: young ones are not read, however many
-- wait. What somebody holds is left for the next time.
WITH RECURSIVE given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS g (org_id text, ttl bigint)
), queues AS (
    SELECT g.org_id, g.ttl, f.sim_key, f.rank
    FROM given AS g CROSS JOIN LATERAL (
        SELECT m.sim_key, m.rank FROM messages AS m
        WHERE m.org_id = g.org_id AND m.status = 'queued' AND m.not_before IS NULL
        ORDER BY m.sim_key, m.rank
        LIMIT 1
    ) AS f
    UNION ALL
    SELECT q.org_id, q.ttl, f.sim_key, f.rank
    FROM queues AS q CROSS JOIN LATERAL (
        SELECT m.sim_key, m.rank FROM messages AS m
        WHERE m.org_id = q.org_id AND m.status = 'queued' AND m.not_before IS NULL
            AND (m.sim_key, m.rank) > (q.sim_key, q.rank)
        ORDER BY m.sim_key, m.rank
        LIMIT 1
    ) AS f
), late AS MATERIALIZED (
    SELECT w.org_id, w.id, q.ttl
    FROM queues AS q CROSS JOIN LATERAL (
        SELECT m.org_id, m.id, m.created_at
        FROM messages AS m
        WHERE m.org_id = q.org_id AND m.sim_key = q.sim_key AND m.rank = q.rank
            AND m.status = 'queued' AND m.not_before IS NULL AND m.attempts = 0
            AND (m.send_at IS NULL
                OR m.send_at < clock_timestamp() - make_interval(secs => q.ttl))
        ORDER BY m.id
        LIMIT %(most)s
    ) AS w
    WHERE w.created_at < clock_timestamp() - make_interval(secs => q.ttl)
    ORDER BY w.org_id, w.id
    LIMIT %(most)s
), heard AS MATERIALIZED (
    @listening_of late
), held AS MATERIALIZED (
    SELECT m.org_id, m.id, l.ttl
    FROM late AS l JOIN messages AS m USING (org_id, id)
    WHERE m.status = 'queued' AND m.attempts = 0 AND (SELECT count(*) FROM heard) >= 0
    ORDER BY m.org_id, m.id
    FOR UPDATE OF m SKIP LOCKED
), expired AS (
    UPDATE messages AS m
    SET status = 'failed', error = 'expired', error_detail = format(%(detail)s, h.ttl)
    FROM held AS h
    WHERE m.org_id = h.org_id AND m.id = h.id
    RETURNING m.*
), told AS (
    @tell_of_tickets expired
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT org_id, id FROM expired
