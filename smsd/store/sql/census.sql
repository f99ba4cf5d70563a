-- census_everywhere --
-- Tickets that have not ended, but for those that are to be sent later, and for how long the oldest of those that wait has done so; looked
-- at up to a limit, beyond which it would cost too much to be asked all the time. And how many of
-- them wait in these queues.
SELECT
    waiting.number,
    (SELECT count(*)
     FROM (SELECT FROM messages WHERE status = 'sending' LIMIT %(most)s::integer) AS handed),
    extract(epoch FROM clock_timestamp() - waiting.since)::double precision,
    pg_database_size(current_database()),
    (SELECT count(*)
     FROM (
        SELECT FROM unnest(%(org_ids)s::text[], %(sim_keys)s::text[]) AS q (org_id, sim_key)
        CROSS JOIN LATERAL (
            SELECT FROM messages AS m
            WHERE m.org_id = q.org_id AND m.sim_key = q.sim_key
                AND m.status = 'queued' AND m.not_before IS NULL
            LIMIT %(most)s::integer
        ) AS one
        LIMIT %(most)s::integer
     ) AS paced)
FROM (
    SELECT count(*) AS number, min(since) AS since
    FROM (
        SELECT coalesce(send_at, created_at) AS since
        FROM messages
        WHERE status = 'queued' AND not_before IS NULL
        LIMIT %(most)s::integer
    ) AS queued
) AS waiting
