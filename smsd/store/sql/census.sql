-- census_everywhere --
-- Tickets that have not ended, counted up to a limit, and since when the oldest that waits has
-- done so. Ids are in order of time, so the first of each queue is its oldest: one look into the
-- index for each queue, however many wait in it.
WITH RECURSIVE firsts AS (
    (SELECT org_id, sim_key, created_at
     FROM messages
     WHERE status = 'queued'
     ORDER BY org_id, sim_key, id
     LIMIT 1)
    UNION ALL
    SELECT following.*
    FROM firsts
    CROSS JOIN LATERAL (
        SELECT m.org_id, m.sim_key, m.created_at
        FROM messages AS m
        WHERE m.status = 'queued' AND (m.org_id, m.sim_key) > (firsts.org_id, firsts.sim_key)
        ORDER BY m.org_id, m.sim_key, m.id
        LIMIT 1
    ) AS following
)
SELECT
    (SELECT count(*)
     FROM (SELECT FROM messages WHERE status = 'queued' LIMIT %(most)s::integer) AS waiting),
    (SELECT count(*)
     FROM (SELECT FROM messages WHERE status = 'sending' LIMIT %(most)s::integer) AS handed),
    (SELECT extract(epoch FROM clock_timestamp() - min(created_at))::double precision
     FROM (SELECT created_at FROM firsts LIMIT %(queues)s::integer) AS looked_at),
    pg_database_size(current_database())
