-- Hooks as their org's people make, see and change them. Whoever posts holds a lease meanwhile and
-- writes down what came of it only under that lease; so each of these that says where a hook goes on
-- takes the lease away, and what is on its way then moves nothing.

-- make_hook --
-- Make a hook of an org that has fewer than so many; its first event is the next one. The org's
-- counter is held. Without a row that was made: how many there are.
WITH counted AS (
    SELECT count(*) AS hooks FROM hooks WHERE org_id = %(org_id)s
), made AS (
    INSERT INTO hooks (
        org_id, hook_id, url, types, direction, address, address_key, sim_asked, sim_slot,
        sim_digits, secret, cursor, enabled, disabled_why, disabled_at
    )
    SELECT o.org_id, %(hook_id)s, %(url)s, %(types)s::text[], %(direction)s, %(address)s,
        %(address_key)s, %(sim_asked)s, %(sim_slot)s::smallint, %(sim_digits)s, %(secret)s,
        k.last_event, %(enabled)s, CASE WHEN NOT %(enabled)s THEN 'requested' END,
        CASE WHEN NOT %(enabled)s THEN clock_timestamp() END
    FROM orgs AS o JOIN org_counters AS k USING (org_id), counted AS c
    WHERE o.org_id = %(org_id)s AND c.hooks < %(most)s
    RETURNING hook_id
)
SELECT c.hooks, m.hook_id FROM counted AS c LEFT JOIN made AS m ON true

-- read_hooks --
-- The hooks of an org, or one of them, as its people see them: none of their secrets.
SELECT h.hook_id, h.url, h.types, h.direction, h.address, h.sim_asked, h.enabled,
    h.disabled_why, to_json(h.disabled_at) #>> '{}', to_json(h.failing_since) #>> '{}', h.tries,
    CASE WHEN h.enabled AND h.next_at > clock_timestamp() THEN to_json(h.next_at) #>> '{}' END,
    h.cursor, greatest(c.last_event - h.cursor, 0),
    CASE WHEN h.old_until > clock_timestamp() THEN to_json(h.old_until) #>> '{}' END,
    to_json(h.created_at) #>> '{}'
FROM hooks AS h JOIN org_counters AS c USING (org_id)
WHERE h.org_id = %(org_id)s AND (%(hook_id)s::text IS NULL OR h.hook_id = %(hook_id)s::text)
ORDER BY h.created_at, h.hook_id

-- change_hook --
-- What is given is set; a filter is also taken away. Another URL, or to be enabled, begins anew: the
-- event behind the cursor, or the first that is still kept, at once.
UPDATE hooks AS h
SET url = coalesce(%(url)s, h.url),
    types = coalesce(%(types)s::text[], h.types),
    direction = CASE WHEN %(sets_direction)s THEN %(direction)s ELSE h.direction END,
    address = CASE WHEN %(sets_address)s THEN %(address)s ELSE h.address END,
    address_key = CASE WHEN %(sets_address)s THEN %(address_key)s ELSE h.address_key END,
    sim_asked = CASE WHEN %(sets_sim)s THEN %(sim_asked)s ELSE h.sim_asked END,
    sim_slot = CASE WHEN %(sets_sim)s THEN %(sim_slot)s::smallint ELSE h.sim_slot END,
    sim_digits = CASE WHEN %(sets_sim)s THEN %(sim_digits)s ELSE h.sim_digits END,
    enabled = coalesce(%(enabled)s, h.enabled),
    disabled_why = CASE WHEN NOT coalesce(%(enabled)s, h.enabled)
        THEN coalesce(h.disabled_why, 'requested') END,
    disabled_at = CASE WHEN NOT coalesce(%(enabled)s, h.enabled)
        THEN coalesce(h.disabled_at, clock_timestamp()) END,
    cursor = CASE WHEN %(enabled)s THEN greatest(h.cursor, c.events_from) ELSE h.cursor END,
    tries = CASE WHEN %(anew)s THEN 0 ELSE h.tries END,
    proven = h.proven AND h.url = coalesce(%(url)s, h.url),
    failing_since = CASE WHEN NOT %(anew)s THEN h.failing_since END,
    next_at = CASE WHEN %(anew)s THEN clock_timestamp() ELSE h.next_at END,
    leased_by = NULL, leased_until = NULL
FROM org_counters AS c
WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s AND c.org_id = h.org_id
RETURNING h.hook_id

-- rotate_hook --
-- Another secret; the one before signs beside it for so many seconds, none: no more.
UPDATE hooks
SET old_secret = CASE WHEN %(overlap)s > 0 THEN secret END,
    old_until = CASE WHEN %(overlap)s > 0
        THEN clock_timestamp() + make_interval(secs => %(overlap)s) END,
    secret = %(secret)s,
    leased_by = NULL, leased_until = NULL
WHERE org_id = %(org_id)s AND hook_id = %(hook_id)s
RETURNING hook_id

-- delete_hook --
-- A hook is no more. What came of its posts goes when the events go.
DELETE FROM hooks WHERE org_id = %(org_id)s AND hook_id = %(hook_id)s
RETURNING hook_id

-- read_signing --
-- Where a hook posts to, and with which secrets what it posts is signed now.
SELECT url, secret, CASE WHEN old_until > clock_timestamp() THEN old_secret END
FROM hooks
WHERE org_id = %(org_id)s AND hook_id = %(hook_id)s

-- replay_hook --
-- Go on behind this event, at once, where that is one that is kept. The first and the last cursor
-- that are good; null: there is no such hook.
WITH moved AS (
    UPDATE hooks AS h
    SET cursor = %(since)s, tries = 0, next_at = clock_timestamp(), failing_since = NULL,
        leased_by = NULL, leased_until = NULL
    FROM org_counters AS c
    WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s AND c.org_id = h.org_id
        AND %(since)s BETWEEN c.events_from AND c.last_event
)
SELECT c.events_from, c.last_event
FROM hooks AS h JOIN org_counters AS c USING (org_id)
WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s

-- read_deliveries --
-- What came of the posts of a hook, the newest first; without any one row of nulls, and none where
-- there is no such hook.
SELECT d.id, d.event_id, d.attempt, to_json(d.at) #>> '{}', d.status, d.error, d.ms, d.answer
FROM hooks AS h
LEFT JOIN LATERAL (
    SELECT *
    FROM deliveries AS one
    WHERE one.org_id = h.org_id AND one.hook_id = h.hook_id
        AND one.id < coalesce(%(before_id)s::bigint, 9223372036854775807)
    ORDER BY one.id DESC
    LIMIT %(limit)s
) AS d ON true
WHERE h.org_id = %(org_id)s AND h.hook_id = %(hook_id)s
ORDER BY d.id DESC

-- erase_deliveries --
-- A batch of what came of the posts of an org that is closed, or is no more.
WITH batch AS (
    SELECT hook_id, id
    FROM deliveries
    WHERE org_id = %(org_id)s AND NOT EXISTS (
        SELECT 1 FROM orgs WHERE org_id = %(org_id)s AND pepper_id <> 'closed'
    )
    ORDER BY hook_id, id
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM deliveries AS d
    USING batch AS b
    WHERE d.org_id = %(org_id)s AND d.hook_id = b.hook_id AND d.id = b.id
    RETURNING d.id
)
SELECT count(*) FROM gone
