-- What is due to be posted, and what came of it. A node takes a hook under a lease, and all that it
-- writes down moves the hook only under that: where somebody else has said meanwhile how it goes on,
-- or another node has it, the attempt is shown, nothing moves, and an event is rather posted twice.

-- due_hooks_everywhere --
-- Hooks whose org has events behind their cursor, of all orgs or of these, unless they must wait or
-- another node has them, in the order in which they became due; at most so many of each standing.
-- What a node left behind in an earlier life is its own. Looking up orgs and counters hook by hook
-- keeps the planner from reading all of them.
SELECT d.org_id, d.hook_id, d.standing
FROM (
    (
        SELECT h.org_id, h.hook_id, 'proven' AS standing, h.next_at
        FROM hooks AS h
        WHERE h.failing_since IS NULL AND h.proven
            AND
            @hook_is_due
        ORDER BY h.next_at
        LIMIT %(most)s
    ) UNION ALL (
        SELECT h.org_id, h.hook_id, 'fresh', h.next_at
        FROM hooks AS h
        WHERE h.failing_since IS NULL AND NOT h.proven
            AND
            @hook_is_due
        ORDER BY h.next_at
        LIMIT %(most)s
    ) UNION ALL (
        SELECT h.org_id, h.hook_id, 'failing', h.next_at
        FROM hooks AS h
        WHERE h.failing_since IS NOT NULL
            AND
            @hook_is_due
        ORDER BY h.next_at
        LIMIT %(most)s
    )
) AS d
ORDER BY d.next_at, d.org_id, d.hook_id

-- lease_hooks --
-- These hooks for the node that asks, where none was faster.
WITH due AS MATERIALIZED (
    SELECT h.org_id, h.hook_id
    FROM hooks AS h
    JOIN unnest(%(org_ids)s::text[], %(hook_ids)s::text[]) AS d (org_id, hook_id)
        USING (org_id, hook_id)
    WHERE h.enabled AND h.next_at <= clock_timestamp()
        AND (h.leased_until IS NULL OR h.leased_until <= clock_timestamp()
            OR h.leased_by = %(node_id)s)
    FOR UPDATE OF h SKIP LOCKED
)
UPDATE hooks AS h
SET leased_by = %(node_id)s,
    leased_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due AS d
WHERE h.org_id = d.org_id AND h.hook_id = d.hook_id
RETURNING h.org_id, h.hook_id, h.url, h.types, h.direction, h.address_key, h.sim_asked, h.secret,
    CASE WHEN h.old_until > clock_timestamp() THEN h.old_secret END, h.cursor, h.tries,
    coalesce(extract(epoch FROM clock_timestamp() - h.failing_since), 0)::float8

-- note_post --
-- What came of a post, and a row where the hook moved, which is where it is still the node's and
-- enabled. The attempt is shown in any case, for it was made.
-- ``done``: on to the next event; ``why``: no more posts.
WITH moved AS (
    UPDATE hooks AS h
    SET cursor = CASE WHEN %(done)s THEN greatest(h.cursor, %(event_id)s) ELSE h.cursor END,
        tries = CASE WHEN %(done)s THEN 0 ELSE %(attempt)s END,
        next_at = CASE WHEN %(taken)s THEN h.next_at
            ELSE clock_timestamp() + make_interval(secs => %(pause)s) END,
        failing_since = CASE WHEN NOT %(taken)s
            THEN coalesce(h.failing_since, clock_timestamp()) END,
        proven = h.proven OR %(taken)s,
        enabled = %(why)s::text IS NULL,
        disabled_why = %(why)s,
        disabled_at = CASE WHEN %(why)s::text IS NOT NULL THEN clock_timestamp() END,
        last_delivery = h.last_delivery + 1,
        leased_until = CASE WHEN %(taken)s
            THEN clock_timestamp() + make_interval(secs => %(lease)s) END
    WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s AND h.enabled
        AND h.leased_by = %(node_id)s AND h.leased_until IS NOT NULL
        AND EXISTS (SELECT 1 FROM orgs AS o WHERE o.org_id = h.org_id AND o.pepper_id <> 'closed')
    RETURNING h.org_id, h.hook_id, h.last_delivery
), overtaken AS (
    UPDATE hooks AS h
    SET last_delivery = h.last_delivery + 1
    WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s
        AND NOT EXISTS (SELECT 1 FROM moved)
        AND EXISTS (SELECT 1 FROM orgs AS o WHERE o.org_id = h.org_id AND o.pepper_id <> 'closed')
    RETURNING h.org_id, h.hook_id, h.last_delivery
), shown AS (
    INSERT INTO deliveries (org_id, hook_id, id, event_id, attempt, status, error, ms, answer)
    SELECT n.org_id, n.hook_id, n.last_delivery, %(event_id)s, %(attempt)s, %(status)s::smallint,
        %(error)s, %(ms)s, %(answer)s
    FROM (SELECT * FROM moved UNION ALL SELECT * FROM overtaken) AS n
)
SELECT m.last_delivery FROM moved AS m

-- let_hook_go --
-- The node has done with a hook for now, up to this event; ``pause``: nobody takes it for so long.
UPDATE hooks AS h
SET cursor = greatest(h.cursor, %(upto)s),
    next_at = clock_timestamp() + make_interval(secs => %(pause)s),
    leased_by = NULL, leased_until = NULL
WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s
    AND h.leased_by = %(node_id)s AND h.leased_until IS NOT NULL

-- orgs_with_hooks_everywhere --
-- The orgs that have a hook which is enabled, a page of them.
SELECT DISTINCT org_id
FROM hooks
WHERE org_id > %(after)s AND enabled
ORDER BY org_id
LIMIT %(most)s

-- orgs_with_deliveries_everywhere --
-- Orgs of which it is known what came of posts, a page after one of them, as of those with events.
WITH RECURSIVE listed AS (
    (SELECT d.org_id FROM deliveries AS d WHERE d.org_id > %(after)s ORDER BY d.org_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT d.org_id FROM deliveries AS d WHERE d.org_id > l.org_id ORDER BY d.org_id LIMIT 1)
    FROM listed AS l
    WHERE l.org_id IS NOT NULL
)
SELECT org_id FROM listed WHERE org_id IS NOT NULL LIMIT %(most)s

-- prune_deliveries --
-- What came of posts of events that are no more goes, a batch of it. How many.
WITH old AS MATERIALIZED (
    SELECT d.hook_id, d.id
    FROM deliveries AS d
    WHERE d.org_id = %(org_id)s
        AND d.event_id <= (SELECT events_from FROM org_counters WHERE org_id = %(org_id)s)
    LIMIT %(most)s
), gone AS (
    DELETE FROM deliveries AS d
    USING old AS o
    WHERE d.org_id = %(org_id)s AND d.hook_id = o.hook_id AND d.id = o.id
    RETURNING d.id
)
SELECT count(*) FROM gone
