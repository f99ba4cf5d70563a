-- read_orgs_everywhere --
-- Orgs as their operator sees them, a page of them after one of them, or the one that is asked for.
SELECT o.org_id,
    CASE WHEN o.pepper_id = 'closed' THEN 'closed'
         WHEN l.locked_until > clock_timestamp() THEN 'locked'
         ELSE 'open' END AS state,
    o.created_at,
    (SELECT count(*)
        FROM sessions AS s JOIN nodes AS n USING (node_id)
        WHERE s.org_id = o.org_id
            AND n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s)) AS phones,
    (SELECT count(*) FROM messages AS m
        WHERE m.org_id = o.org_id AND m.status = 'queued' AND m.not_before IS NULL)
        + (SELECT count(*) FROM messages AS m
        WHERE m.org_id = o.org_id AND m.status = 'queued' AND m.not_before IS NOT NULL) AS queued,
    (SELECT count(*) FROM messages AS m
        WHERE m.org_id = o.org_id AND m.status = 'sending') AS sending,
    coalesce(c.last_id, 0) AS last_id
FROM orgs AS o
LEFT JOIN org_locks AS l USING (org_id)
LEFT JOIN org_counters AS c USING (org_id)
WHERE o.org_id > %(after)s AND (%(org_id)s::text IS NULL OR o.org_id = %(org_id)s::text)
ORDER BY o.org_id
LIMIT %(most)s

-- describe_org --
-- What else there is to know of one org. Messages are counted up to a million.
SELECT
    CASE WHEN l.locked_until > clock_timestamp() THEN l.locked_until END AS locked_until,
    CASE WHEN o.old_until > clock_timestamp() THEN o.old_until END AS old_secret_until,
    (SELECT count(*) FROM auth_failures AS f
        WHERE f.org_id = o.org_id
            AND f.failed_at > clock_timestamp() - make_interval(secs => %(window)s)) AS failures,
    (SELECT count(*) FROM sims AS k WHERE k.org_id = o.org_id) AS known_sims,
    (SELECT count(*) FROM api_keys AS k WHERE k.org_id = o.org_id) AS api_keys,
    (SELECT count(*) FROM (
        SELECT 1 FROM messages AS m WHERE m.org_id = o.org_id LIMIT 1000000) AS counted) AS messages,
    (SELECT min(coalesce(m.send_at, m.created_at)) FROM messages AS m
        WHERE m.org_id = o.org_id AND m.status = 'queued' AND m.not_before IS NULL) AS queued_since,
    (SELECT min(m.handed_at) FROM messages AS m
        WHERE m.org_id = o.org_id AND m.status = 'sending') AS sending_since
FROM orgs AS o LEFT JOIN org_locks AS l USING (org_id)
WHERE o.org_id = %(org_id)s

-- orgs_after_everywhere --
-- The names of orgs, a page after one of them.
SELECT org_id FROM orgs WHERE org_id > %(after)s ORDER BY org_id LIMIT %(most)s

-- replace_secret --
-- Another secret, where the one in force is the one that was shown (null: whichever it is). For
-- the grace the one before it works on, where one pepper made both fingerprints; the row says
-- until when.
UPDATE orgs
SET secret_hash = %(secret_hash)s,
    secret_hmac = %(secret_hmac)s,
    pepper_id = %(pepper_id)s,
    old_hmac = CASE WHEN %(grace)s > 0 AND pepper_id = %(pepper_id)s THEN secret_hmac END,
    old_until = CASE WHEN %(grace)s > 0 AND pepper_id = %(pepper_id)s
        THEN clock_timestamp() + make_interval(secs => %(grace)s) END
WHERE org_id = %(org_id)s
    AND (%(present)s::bytea IS NULL OR secret_hmac = %(present)s::bytea)
RETURNING old_until

-- forget_failures --
-- Wrong secrets no longer count against this org.
DELETE FROM auth_failures WHERE org_id = %(org_id)s

-- closed_orgs --
-- Which of these orgs are closed, or are no more: their phones must go.
SELECT g.org_id
FROM unnest(%(org_ids)s::text[]) AS g (org_id)
WHERE NOT EXISTS (
    SELECT 1 FROM orgs AS o WHERE o.org_id = g.org_id AND o.pepper_id <> 'closed'
)

-- read_phones_everywhere --
-- Phones on line, of one org or of all.
SELECT s.org_id, s.phone_id, s.sims, s.connected_at, s.node_id
FROM sessions AS s JOIN nodes AS n USING (node_id)
WHERE n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s)
    AND (%(org_id)s::text IS NULL OR s.org_id = %(org_id)s::text)
ORDER BY s.org_id, s.connected_at, s.session_id

-- open_tickets_everywhere --
-- Tickets that have not ended, of one org or of all, oldest first: those that have waited, or are
-- with a phone, for longer than so many seconds.
WITH open AS (
    SELECT * FROM (
        SELECT org_id, id FROM messages
        WHERE status = 'queued' AND not_before IS NULL
            AND (%(org_id)s::text IS NULL OR org_id = %(org_id)s::text)
            AND coalesce(send_at, created_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
        UNION ALL
        SELECT org_id, id FROM messages
        WHERE status = 'sending'
            AND (%(org_id)s::text IS NULL OR org_id = %(org_id)s::text)
            AND handed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
    ) AS either
    ORDER BY org_id, id
    LIMIT %(most)s
), alive AS (
    SELECT s.org_id, s.session_id
    FROM sessions AS s JOIN nodes AS n USING (node_id)
    WHERE n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s)
)
SELECT m.org_id, m.id, m.status, m.address, m.sim_asked, m.created_at, m.handed_at, m.attempts,
    EXISTS (SELECT 1 FROM alive AS a WHERE a.org_id = m.org_id) AS org_on_line,
    EXISTS (SELECT 1 FROM alive AS a
        WHERE a.org_id = m.org_id AND a.session_id = m.session_id) AS held,
    m.pushed_at IS NOT NULL AS pushed,
    m.received_at IS NOT NULL AS received
FROM open JOIN messages AS m USING (org_id, id)
ORDER BY m.org_id, m.id

-- find_ticket --
-- One ticket: where it stands, how often it was pushed, and whether a phone on line holds it.
SELECT m.status, m.attempts,
    m.status = 'sending' AND EXISTS (
        SELECT 1 FROM sessions AS s JOIN nodes AS n USING (node_id)
        WHERE s.org_id = m.org_id AND s.session_id = m.session_id
            AND n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s)) AS held
FROM messages AS m
WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.direction = 'out'

-- requeue_ticket --
-- A ticket that no phone on line holds waits again, under the same id. A receipt was counted when
-- its session ended.
WITH heard AS MATERIALIZED (
    @listening_one
), requeued AS (
    UPDATE messages AS m
    SET status = 'queued', session_id = NULL, handed_at = NULL, pushed_at = NULL,
        received_at = NULL
    WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.status = 'sending'
        AND NOT EXISTS (
            SELECT 1 FROM sessions AS s JOIN nodes AS n USING (node_id)
            WHERE s.org_id = m.org_id AND s.session_id = m.session_id
                AND n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s))
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING m.*
), told AS (
    @tell_of_tickets requeued
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT id FROM requeued

-- fail_ticket --
-- A ticket that has not ended ends, because the operator says so.
WITH heard AS MATERIALIZED (
    @listening_one
), failed AS (
    UPDATE messages AS m
    SET status = 'failed', error = 'failed_by_operator', error_detail = %(detail)s
    WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.status IN ('queued', 'sending')
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING m.*
), told AS (
    @tell_of_tickets failed
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT id FROM failed

-- erase_messages --
-- A batch of the messages of an org that is closed, or is no more.
WITH batch AS (
    SELECT id
    FROM messages
    WHERE org_id = %(org_id)s AND NOT EXISTS (
        SELECT 1 FROM orgs WHERE org_id = %(org_id)s AND pepper_id <> 'closed'
    )
    ORDER BY id
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM messages
    WHERE org_id = %(org_id)s AND id = ANY (ARRAY(SELECT id FROM batch))
    RETURNING id
)
SELECT count(*) FROM gone

-- hold_counter --
-- Take the org's turn at storing messages; ends with the transaction.
SELECT last_id FROM org_counters WHERE org_id = %(org_id)s FOR UPDATE

-- delete_org --
-- Delete an org that is closed and has no messages, no events and no deliveries any more; its
-- counter stays, and nobody listens.
WITH gone AS (
    DELETE FROM orgs AS o
    WHERE o.org_id = %(org_id)s AND o.pepper_id = 'closed'
        AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.org_id = o.org_id)
        AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.org_id = o.org_id)
        AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.org_id = o.org_id)
    RETURNING org_id
), silent AS (
    UPDATE org_counters SET listens_until = NULL, opt_out_scope = NULL
    WHERE org_id IN (SELECT org_id FROM gone)
)
SELECT clock_timestamp() FROM gone

-- older_statements --
-- How many statements and transactions of the gateways began before that time and go on still.
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'smsd' AND pid <> pg_backend_pid()
    AND state <> 'idle' AND xact_start <= %(moment)s

-- forget_address --
-- A batch of what one address wrote to the org and was sent by it. That it wants to hear nothing
-- more is not forgotten, but which of its words were answered is.
WITH batch AS (
    SELECT id
    FROM messages
    WHERE org_id = %(org_id)s AND address_key = %(address_key)s
    ORDER BY id
    LIMIT %(most)s
    FOR UPDATE
), unsaid AS (
    DELETE FROM opt_out_answers
    WHERE org_id = %(org_id)s AND address_key = %(address_key)s AND answered
), gone AS (
    DELETE FROM messages
    WHERE org_id = %(org_id)s AND id = ANY (ARRAY(SELECT id FROM batch))
    RETURNING id
)
SELECT count(*) FROM gone

-- prune_messages --
-- Of the next messages of an org, those that are older than so many days and have ended are
-- deleted; one that somebody holds is left for the next time. Ids are in the order of time, so
-- that the first young one ends the search. Null: there is nothing behind this page.
WITH page AS MATERIALIZED (
    SELECT id, status, created_at < clock_timestamp() - make_interval(days => %(days)s) AS old
    FROM messages
    WHERE org_id = %(org_id)s AND id > %(after)s
    ORDER BY id
    LIMIT %(most)s
), ended AS MATERIALIZED (
    SELECT m.id
    FROM messages AS m
    WHERE m.org_id = %(org_id)s
        AND m.id = ANY (ARRAY(SELECT id FROM page WHERE old))
        AND m.status NOT IN ('queued', 'sending')
    ORDER BY m.id
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM messages
    WHERE org_id = %(org_id)s AND id = ANY (ARRAY(SELECT id FROM ended))
    RETURNING id
)
SELECT (SELECT count(*) FROM gone),
    (SELECT CASE WHEN bool_and(old) AND count(*) = %(most)s THEN max(id) END FROM page)

-- schema_is_there --
-- Whether a gateway has ever been started on this database.
SELECT to_regclass('schema_migrations') IS NOT NULL

-- schema_version --
-- Up to which migration the database was brought.
SELECT coalesce(max(version), 0) FROM schema_migrations
