-- census_everywhere --
-- Tickets that have not ended, and for how long the oldest of those that wait has done so; looked
-- at up to a limit, beyond which it would cost too much to be asked all the time.
SELECT
    waiting.number,
    (SELECT count(*)
     FROM (SELECT FROM messages WHERE status = 'sending' LIMIT %(most)s::integer) AS handed),
    extract(epoch FROM clock_timestamp() - waiting.since)::double precision,
    pg_database_size(current_database())
FROM (
    SELECT count(*) AS number, min(created_at) AS since
    FROM (
        SELECT created_at FROM messages WHERE status = 'queued' LIMIT %(most)s::integer
    ) AS queued
) AS waiting
