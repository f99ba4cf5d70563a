-- hold_sims --
-- Let nobody else hand tickets to these SIMs; ends with the transaction. What they were given is
-- read by the next statement, for one that waited for a lock reads with its old snapshot. Taken in
-- one order, so that two phones that share SIMs cannot deadlock.
SELECT pg_advisory_xact_lock(h.place)
FROM (
    SELECT DISTINCT
        hashtextextended(concat_ws(' ', 'smsd sim', %(org_id)s::text, k.sim_key), 0) AS place
    FROM unnest(%(sim_keys)s::text[]) AS k (sim_key)
    ORDER BY place
) AS h

-- read_uses --
-- What SIMs were given, the oldest first, and what time it is; one row that has nothing else where
-- they were never given anything. Of each there is what counts, and the last it was given.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS now
)
SELECT extract(epoch FROM n.now)::float, u.sim_key, extract(epoch FROM u.at)::float, u.segments,
    u.key_id
FROM moment AS n LEFT JOIN sim_uses AS u
    ON u.org_id = %(org_id)s AND u.sim_key = ANY (%(sim_keys)s::text[])
ORDER BY u.at

-- read_turns --
-- The next tickets of each who has some in these queues: an API key, or null for the secret. The
-- keys are found one by one, so that of a thousand tickets of one no more is read than could go.
WITH RECURSIVE whose AS (
    SELECT q.sim_key, (
        SELECT min(m.key_id) FROM messages AS m
        WHERE m.org_id = %(org_id)s AND m.sim_key = q.sim_key
            AND m.status = 'queued' AND m.not_before IS NULL
            AND m.key_id IS NOT NULL) AS key_id
    FROM unnest(%(sim_keys)s::text[]) AS q (sim_key)
    UNION ALL
    SELECT w.sim_key, (
        SELECT min(m.key_id) FROM messages AS m
        WHERE m.org_id = %(org_id)s AND m.sim_key = w.sim_key
            AND m.status = 'queued' AND m.not_before IS NULL
            AND m.key_id > w.key_id)
    FROM whose AS w
    WHERE w.key_id IS NOT NULL
)
SELECT t.sim_key, t.id, t.body, t.key_id, t.rank
FROM whose AS w CROSS JOIN LATERAL (
    SELECT m.sim_key, m.id, m.body, m.key_id, m.rank
    FROM messages AS m
    WHERE m.org_id = %(org_id)s AND m.sim_key = w.sim_key
        AND m.status = 'queued' AND m.not_before IS NULL AND m.key_id = w.key_id
        AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
    ORDER BY m.rank, m.id
    LIMIT %(most)s
) AS t
UNION ALL
SELECT t.sim_key, t.id, t.body, t.key_id, t.rank
FROM unnest(%(sim_keys)s::text[]) AS q (sim_key) CROSS JOIN LATERAL (
    SELECT m.sim_key, m.id, m.body, m.key_id, m.rank
    FROM messages AS m
    WHERE m.org_id = %(org_id)s AND m.sim_key = q.sim_key
        AND m.status = 'queued' AND m.not_before IS NULL AND m.key_id IS NULL
        AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
    ORDER BY m.rank, m.id
    LIMIT %(most)s
) AS t
ORDER BY rank, id

-- claim_in_turn --
-- Give tickets whose turn it is to a session, unless they have ended meanwhile, and count them at
-- the SIMs that they are for, in the order of their turns. What counts no longer is forgotten. One
-- to a number that has opted out meanwhile ends, and does not count.
WITH serves AS (
    SELECT *
    FROM json_to_recordset(%(serves)s::json) AS s (
        sim_key text, sim_slot smallint, sim_number text, sim_digits text
    )
), chosen AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(chosen)s::json) AS c (
        ord integer, id bigint, segments integer, sims text[]
    )
), heard AS MATERIALIZED (
    @listening_one
), opting AS MATERIALIZED (
    @scope_one
), free AS MATERIALIZED (
    SELECT w.org_id, w.id, w.refused
    FROM chosen AS c LEFT JOIN opting AS k ON true CROSS JOIN LATERAL (
        SELECT m.org_id, m.id,
            @opted_out m s.sim_digits k.scope
            AS refused
        FROM messages AS m LEFT JOIN serves AS s USING (sim_key)
        WHERE m.org_id = %(org_id)s AND m.id = c.id
            AND m.status = 'queued' AND m.not_before IS NULL
        FOR UPDATE OF m SKIP LOCKED
    ) AS w
    WHERE (SELECT count(*) FROM heard) >= 0
), claimed AS (
    @claim_free
), told AS (
    @tell_of_tickets claimed
    RETURNING org_id, id
), told_upto AS (
    @count_told
), used AS (
    INSERT INTO sim_uses (org_id, sim_key, at, message_id, segments, key_id)
    SELECT m.org_id, k.sim_key, (SELECT clock_timestamp()) + c.ord * interval '1 microsecond',
        m.id, c.segments, m.key_id
    FROM claimed AS m JOIN chosen AS c USING (id) CROSS JOIN LATERAL unnest(c.sims) AS k (sim_key)
    WHERE m.status = 'sending'
), forgotten AS (
    DELETE FROM sim_uses AS u
    WHERE u.org_id = %(org_id)s AND u.sim_key = ANY (%(sim_keys)s::text[])
        AND u.at < clock_timestamp() - make_interval(secs => %(seconds)s)
), noted AS (
    INSERT INTO batches (batch_id, ids)
    SELECT %(batch_id)s::uuid, array_agg(id) FROM claimed
    HAVING count(*) > 0
)
SELECT id, status, address, body, sim_asked, ref, attempts,
    (extract(epoch FROM expires_at) * 1000)::bigint, receipt IS TRUE
FROM claimed
ORDER BY rank, id

-- give_back --
-- What a phone dropped because its time was over has not been sent: no SIM counts it.
DELETE FROM sim_uses AS u
USING messages AS m
WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.status = 'expired'
    AND u.org_id = m.org_id AND u.message_id = m.id
RETURNING u.sim_key

-- set_paces --
-- From now on the org's SIMs may send this.
UPDATE org_limits
SET paces = %(paces)s::jsonb
WHERE org_id = %(org_id)s
RETURNING row_to_json(org_limits)::text
