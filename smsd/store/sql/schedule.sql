-- pass_times_everywhere --
-- Tickets that wait and whose time has come: those that were to be sent later enter their queues,
-- and those that were to be sent by now expire. Of each org that has such tickets the next ones are
-- looked at, however many there are besides. What somebody holds is left for the next time.
WITH RECURSIVE timed AS (
    (
        SELECT m.org_id
        FROM messages AS m
        WHERE m.status = 'queued' AND (m.not_before IS NOT NULL OR m.expires_at IS NOT NULL)
        ORDER BY m.org_id
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT m.org_id
        FROM messages AS m
        WHERE m.status = 'queued' AND (m.not_before IS NOT NULL OR m.expires_at IS NOT NULL)
            AND m.org_id > t.org_id
        ORDER BY m.org_id
        LIMIT 1)
    FROM timed AS t
    WHERE t.org_id IS NOT NULL
), passed AS MATERIALIZED (
    SELECT p.org_id, p.id
    FROM timed AS t CROSS JOIN LATERAL (
        SELECT m.org_id, m.id
        FROM messages AS m
        WHERE m.org_id = t.org_id AND m.status = 'queued'
            AND (m.not_before IS NOT NULL OR m.expires_at IS NOT NULL)
            -- The statement's time, for a time that moves cannot be looked up in an index.
            AND coalesce(m.not_before, m.expires_at) <= now()
        ORDER BY coalesce(m.not_before, m.expires_at)
        LIMIT %(most)s
    ) AS p
    LIMIT %(most)s
), heard AS MATERIALIZED (
    @listening_of passed
), held AS MATERIALIZED (
    SELECT m.org_id, m.id
    FROM passed AS p CROSS JOIN LATERAL (
        SELECT m.org_id, m.id
        FROM messages AS m
        WHERE m.org_id = p.org_id AND m.id = p.id AND m.status = 'queued'
            AND coalesce(m.not_before, m.expires_at) <= now()
        FOR UPDATE SKIP LOCKED
    ) AS m
    WHERE (SELECT count(*) FROM heard) >= 0
), changed AS (
    UPDATE messages AS m
    SET status = CASE WHEN m.not_before IS NULL THEN 'expired' ELSE m.status END,
        not_before = NULL
    FROM unnest(
        ARRAY(SELECT org_id FROM held), ARRAY(SELECT id FROM held)
    ) AS h (org_id, id)
    WHERE m.org_id = h.org_id AND m.id = h.id
    RETURNING m.*
), told AS (
    @tell_of_tickets changed
    WHERE m.status = 'expired'
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT org_id, id, status, sim_key FROM changed
