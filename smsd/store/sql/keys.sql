-- recall_keys --
-- Keys that are good, found by their org and their hash: what each lets its holder do, for how many
-- seconds yet (null: for ever), whether its use was noted within the hour, and what its org is
-- allowed, if the operator has set something for it. A closed org has none.
SELECT g.ord, k.key_id, k.scopes, k.to_prefixes, k.segments_a_day,
    extract(epoch FROM k.expires_at - clock_timestamp())::float,
    coalesce(k.last_used_at > clock_timestamp() - interval '1 hour', false),
    (SELECT row_to_json(w)::text FROM org_limits AS w WHERE w.org_id = k.org_id)
FROM json_to_recordset(%(rows)s::json) AS g (ord integer, org_id text, hash text)
JOIN api_keys AS k ON k.org_id = g.org_id AND k.hash = decode(g.hash, 'hex')
JOIN orgs AS o ON o.org_id = k.org_id
WHERE o.pepper_id <> 'closed'
    AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())

-- use_key --
-- A key was used, and nobody has noted it within the hour.
UPDATE api_keys
SET last_used_at = clock_timestamp()
WHERE org_id = %(org_id)s AND key_id = %(key_id)s
    AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 hour')

-- make_key --
-- Make a key of an org whose present secret was shown and that has fewer than so many. Without a
-- row that was made: how many there are.
WITH counted AS (
    SELECT count(*) AS keys FROM api_keys WHERE org_id = %(org_id)s
), made AS (
    INSERT INTO api_keys (
        org_id, key_id, hash, name, scopes, to_prefixes, segments_a_day, expires_at
    )
    SELECT o.org_id, %(key_id)s, decode(%(hash)s, 'hex'), %(name)s, %(scopes)s::text[],
        %(to_prefixes)s::text[], %(segments_a_day)s::bigint,
        clock_timestamp() + make_interval(secs => %(expires_in)s)
    FROM orgs AS o, counted AS c
    WHERE o.org_id = %(org_id)s AND o.secret_hmac = %(present)s AND c.keys < %(most)s
    RETURNING created_at, expires_at
)
SELECT c.keys, m.created_at, m.expires_at
FROM counted AS c LEFT JOIN made AS m ON true

-- read_keys --
-- The keys of an org, or one of them, as its people see them.
SELECT k.key_id, k.name, k.scopes, k.to_prefixes, k.segments_a_day,
    CASE WHEN k.segments_a_day IS NOT NULL THEN coalesce((
        SELECT s.segments FROM api_key_spending AS s
        WHERE s.org_id = k.org_id AND s.key_id = k.key_id
            AND s.day = (clock_timestamp() AT TIME ZONE 'UTC')::date), 0) END,
    to_json(k.created_at) #>> '{}', to_json(k.expires_at) #>> '{}',
    to_json(k.last_used_at) #>> '{}'
FROM api_keys AS k
WHERE k.org_id = %(org_id)s AND (%(key_id)s::text IS NULL OR k.key_id = %(key_id)s::text)
ORDER BY k.created_at, k.key_id

-- delete_key --
-- A key is good no more.
DELETE FROM api_keys WHERE org_id = %(org_id)s AND key_id = %(key_id)s
RETURNING key_id

-- ended_keys --
-- Which of these keys, by org and id, are good no more: phones that hold one must go.
SELECT g.org_id, g.key_id
FROM unnest(%(org_ids)s::text[], %(key_ids)s::text[]) AS g (org_id, key_id)
WHERE NOT EXISTS (
    SELECT 1 FROM api_keys AS k
    WHERE k.org_id = g.org_id AND k.key_id = g.key_id
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
)

-- spend_segments --
-- Take segments from a key's budget for today, if that many are left. No row comes back where they
-- are not, or where the key is no more. The row's lock puts all nodes in one order.
INSERT INTO api_key_spending AS s (org_id, key_id, day, segments)
SELECT k.org_id, k.key_id, (clock_timestamp() AT TIME ZONE 'UTC')::date, %(segments)s
FROM api_keys AS k
WHERE k.org_id = %(org_id)s AND k.key_id = %(key_id)s AND k.segments_a_day >= %(segments)s
ON CONFLICT (org_id, key_id) DO UPDATE
SET day = greatest(s.day, EXCLUDED.day),
    segments = CASE WHEN s.day < EXCLUDED.day THEN 0 ELSE s.segments END + EXCLUDED.segments
WHERE CASE WHEN s.day < EXCLUDED.day THEN 0 ELSE s.segments END + EXCLUDED.segments
    <= %(segments_a_day)s
RETURNING s.segments

-- give_segments_back --
-- What was taken from a key's budget today was not sent after all.
UPDATE api_key_spending
SET segments = segments - %(segments)s
WHERE org_id = %(org_id)s AND key_id = %(key_id)s
    AND day = (clock_timestamp() AT TIME ZONE 'UTC')::date AND segments >= %(segments)s

-- read_budget --
-- How many segments a key has left today, and in how many seconds tomorrow begins, in UTC.
SELECT k.segments_a_day - coalesce((
        SELECT s.segments FROM api_key_spending AS s
        WHERE s.org_id = k.org_id AND s.key_id = k.key_id
            AND s.day = (clock_timestamp() AT TIME ZONE 'UTC')::date), 0),
    ceil(extract(epoch FROM date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC')
        + interval '1 day' - (clock_timestamp() AT TIME ZONE 'UTC')))::integer
FROM api_keys AS k
WHERE k.org_id = %(org_id)s AND k.key_id = %(key_id)s
