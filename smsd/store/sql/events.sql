-- Events are written by the statements that change what they tell of, for orgs that listen. Each of
-- these takes the counters of such orgs first, in their order (heard), and only then a ticket or a
-- session (the filters that count heard see to that). So nobody who holds one of those waits for a
-- counter, whoever holds a counter may wait for them, and events are in the order of commits. Of an
-- org that does not listen no counter is taken.

-- listen --
-- From now on, and for so long, what happens in the org is written down as events. Where nobody
-- listened just before, something may have been missed: a new first event begins there.
UPDATE org_counters AS c
SET events_from = CASE WHEN c.listens_until > clock_timestamp()
        THEN c.events_from ELSE c.last_event + 1 END,
    last_event = CASE WHEN c.listens_until > clock_timestamp()
        THEN c.last_event ELSE c.last_event + 1 END,
    listens_until = greatest(
        c.listens_until, clock_timestamp() + make_interval(secs => %(keep)s))
WHERE c.org_id = %(org_id)s AND EXISTS (SELECT 1 FROM orgs AS o WHERE o.org_id = c.org_id)
RETURNING c.last_id, c.events_from, c.last_event

-- listen_on --
-- Somebody goes on reading the events of these orgs: each listens for so many seconds more, where
-- it would not for at least so many. One whose counter is held just now has its turn next time.
WITH due AS MATERIALIZED (
    SELECT c.org_id
    FROM org_counters AS c
    WHERE c.org_id = ANY (%(org_ids)s::text[])
        AND c.listens_until < clock_timestamp() + make_interval(secs => %(least)s)
        AND EXISTS (SELECT 1 FROM orgs AS o WHERE o.org_id = c.org_id)
    ORDER BY c.org_id
    FOR UPDATE SKIP LOCKED
)
UPDATE org_counters AS c
SET events_from = CASE WHEN c.listens_until > clock_timestamp()
        THEN c.events_from ELSE c.last_event + 1 END,
    last_event = CASE WHEN c.listens_until > clock_timestamp()
        THEN c.last_event ELSE c.last_event + 1 END,
    listens_until = greatest(
        c.listens_until, clock_timestamp() + make_interval(secs => %(keep)s))
WHERE c.org_id = ANY (ARRAY(SELECT org_id FROM due))

-- read_bounds --
-- Where these orgs stand: the last message, below which cursor events were missed, the last event,
-- and for how many seconds each goes on listening.
SELECT c.org_id, c.last_id, c.events_from, c.last_event,
    coalesce(extract(epoch FROM c.listens_until - clock_timestamp()), 0)::double precision
FROM org_counters AS c
WHERE c.org_id = ANY (%(org_ids)s::text[])

-- read_events --
-- The events after a cursor, in order. At most so many are looked at, whichever are asked for, so
-- that no reading takes long: the last one that was looked at is the next cursor, null where all
-- were. There is a row also where nothing is found.
WITH looked AS MATERIALIZED (
    SELECT e.*
    FROM events AS e
    WHERE e.org_id = %(org_id)s AND e.id > %(after)s
    ORDER BY e.id
    LIMIT %(limit)s
)
SELECT
    c.last_id, c.events_from, c.last_event,
    (SELECT CASE WHEN count(*) = %(limit)s THEN max(id) END FROM looked),
    e.id, e.type, e.at, e.message_id, e.data::text
FROM org_counters AS c
LEFT JOIN looked AS e
    ON (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s::text[]))
    AND (%(direction)s::text IS NULL OR e.direction = %(direction)s::text)
    AND (%(address_key)s::text IS NULL OR e.address_key = %(address_key)s::text)
    AND (%(sim_digits)s::text IS NULL OR e.sim_digits = %(sim_digits)s::text)
    AND (%(sim_slot)s::smallint IS NULL OR e.sim_slot = %(sim_slot)s::smallint)
WHERE c.org_id = %(org_id)s
ORDER BY e.id

-- orgs_with_events_everywhere --
-- Orgs of which there are events, a page after one of them: each is one look into the index.
WITH RECURSIVE listed AS (
    (SELECT e.org_id FROM events AS e WHERE e.org_id > %(after)s ORDER BY e.org_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT e.org_id FROM events AS e WHERE e.org_id > l.org_id ORDER BY e.org_id LIMIT 1)
    FROM listed AS l
    WHERE l.org_id IS NOT NULL
)
SELECT org_id FROM listed WHERE org_id IS NOT NULL LIMIT %(most)s

-- prune_events --
-- The first events of an org that are older than so many seconds go; a cursor before the last of
-- them has missed something from then on. How many.
WITH old AS MATERIALIZED (
    SELECT id
    FROM (
        SELECT e.id, e.at
        FROM events AS e
        WHERE e.org_id = %(org_id)s
        ORDER BY e.id
        LIMIT %(most)s
    ) AS first
    WHERE at < clock_timestamp() - make_interval(secs => %(seconds)s)
), moved AS (
    UPDATE org_counters AS c
    SET events_from = greatest(c.events_from, (SELECT max(id) FROM old))
    WHERE c.org_id = %(org_id)s AND EXISTS (SELECT 1 FROM old)
), gone AS (
    DELETE FROM events AS e
    WHERE e.org_id = %(org_id)s AND e.id = ANY (ARRAY(SELECT id FROM old))
)
SELECT count(*) FROM old

-- forget_events --
-- A batch of the events that tell of one address, and of what was answered to posts of them.
WITH batch AS (
    SELECT id
    FROM events
    WHERE org_id = %(org_id)s AND address_key = %(address_key)s
    ORDER BY id
    LIMIT %(most)s
    FOR UPDATE
), answers AS (
    DELETE FROM deliveries
    WHERE org_id = %(org_id)s AND event_id = ANY (ARRAY(SELECT id FROM batch))
), gone AS (
    DELETE FROM events
    WHERE org_id = %(org_id)s AND id = ANY (ARRAY(SELECT id FROM batch))
    RETURNING id
)
SELECT count(*) FROM gone

-- erase_events --
-- A batch of the events of an org that is closed, or is no more.
WITH batch AS (
    SELECT id
    FROM events
    WHERE org_id = %(org_id)s AND NOT EXISTS (
        SELECT 1 FROM orgs WHERE org_id = %(org_id)s AND pepper_id <> 'closed'
    )
    ORDER BY id
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM events
    WHERE org_id = %(org_id)s AND id = ANY (ARRAY(SELECT id FROM batch))
    RETURNING id
)
SELECT count(*) FROM gone
