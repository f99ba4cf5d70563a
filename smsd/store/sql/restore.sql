-- use_everywhere --
-- Whether a gateway lives on this database, and whether it was ever used.
SELECT
    EXISTS (SELECT FROM nodes
        WHERE seen_at > clock_timestamp() - interval '15 seconds') AS alive,
    EXISTS (SELECT FROM org_counters) OR EXISTS (SELECT FROM orgs)
        OR EXISTS (SELECT FROM messages) AS used

-- move_counters_everywhere --
-- Ids that were given out after the backup was made are never given out again; of orgs that have
-- gone, too. What happened since the backup was made has no event: every cursor has missed it, and
-- hooks go on behind that.
WITH moved AS (
    UPDATE org_counters
    SET last_id = last_id + 1000000,
        last_event = last_event + 1000000,
        events_from = last_event + 1000000
    RETURNING org_id, events_from
)
UPDATE hooks AS h
SET cursor = m.events_from, tries = 0, leased_by = NULL, leased_until = NULL
FROM moved AS m
WHERE h.org_id = m.org_id

-- forget_nodes_everywhere --
-- Nobody is on line any more.
WITH nobody AS (DELETE FROM sessions)
DELETE FROM nodes

-- fail_pending_everywhere --
-- Tickets that had not ended end: since the backup they may have been sent, and must not be sent
-- twice. They count as pushed, so that the word of a phone that did send one is taken still.
UPDATE messages
SET status = 'failed', error = 'unconfirmed', attempts = greatest(attempts, 1),
    error_detail = 'The gateway was restored from a backup; the SMS may have been sent meanwhile.'
WHERE status = 'queued' AND not_before IS NULL
    OR status = 'queued' AND not_before IS NOT NULL
    OR status = 'sending'

-- server_major --
-- Of which major version the server is.
SELECT current_setting('server_version_num')::integer / 10000
