-- find_org --
-- What recognising a secret needs to know of an org.
SELECT org_id, secret_hash, secret_hmac, pepper_id,
    CASE WHEN old_until > clock_timestamp() THEN old_hmac END AS old_hmac
FROM orgs
WHERE org_id = %(org_id)s

-- recall_address (prepared) --
-- Orgs, each as one address may see it: the secret that was right from there within the last day,
-- if the address has not failed since; whether that was within the last hour, so that it need not
-- be noted again; for how many seconds the org is locked for strangers; and what it is allowed, if
-- the operator has set something for it.
SELECT g.ord, o.secret_hmac, o.pepper_id,
    CASE WHEN o.old_until > clock_timestamp() THEN o.old_hmac END,
    k.secret_hmac,
    coalesce(k.right_at > clock_timestamp() - interval '1 hour', false),
    greatest(0, ceil(
        extract(epoch FROM l.locked_until) - extract(epoch FROM clock_timestamp())))::integer,
    (SELECT row_to_json(w)::text FROM org_limits AS w WHERE w.org_id = o.org_id)
FROM json_to_recordset(%(rows)s::json) AS g (ord integer, org_id text, address text)
JOIN orgs AS o USING (org_id)
LEFT JOIN known_addresses AS k
    ON k.org_id = o.org_id AND k.address = g.address
    AND k.failed_at IS NULL AND k.right_at > clock_timestamp() - interval '1 day'
LEFT JOIN org_locks AS l ON l.org_id = o.org_id

-- create_org --
-- Claim a name. No row comes back where somebody else was first.
INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
VALUES (%(org_id)s, %(secret_hash)s, %(secret_hmac)s, %(pepper_id)s)
ON CONFLICT (org_id) DO NOTHING
RETURNING org_id

-- create_counter --
-- Counters outlive their orgs, so a name that is claimed again goes on counting.
INSERT INTO org_counters (org_id) VALUES (%(org_id)s) ON CONFLICT (org_id) DO NOTHING

-- renew_hmac --
-- The pepper has changed and argon2id has vouched for the secret.
UPDATE orgs
SET secret_hmac = %(secret_hmac)s, pepper_id = %(pepper_id)s, old_hmac = NULL, old_until = NULL
WHERE org_id = %(org_id)s AND secret_hash = %(secret_hash)s
RETURNING org_id

-- hold_lock --
-- Take the org's turn at guessing; ends with the transaction. The seconds for which it is
-- locked, 0 when it is not.
INSERT INTO org_locks AS l (org_id)
VALUES (%(org_id)s)
ON CONFLICT (org_id) DO UPDATE SET locked_until = l.locked_until
RETURNING greatest(0, ceil(
    extract(epoch FROM l.locked_until) - extract(epoch FROM clock_timestamp())))::integer

-- reserve_failure --
-- Count an attempt as failed before its secret is verified. Failures older than the window, or
-- than the last lock, no longer count.
WITH reserved AS (
    INSERT INTO auth_failures (org_id, address) VALUES (%(org_id)s, %(address)s)
    RETURNING org_id
), distrusted AS (
    UPDATE known_addresses SET failed_at = clock_timestamp()
    WHERE org_id = %(org_id)s AND address = %(address)s
)
SELECT (SELECT count(*) FROM reserved) + (
    SELECT count(*)
    FROM auth_failures AS f JOIN org_locks AS l USING (org_id)
    WHERE f.org_id = %(org_id)s
        AND f.failed_at > clock_timestamp() - make_interval(secs => %(window)s)
        AND f.failed_at > l.locked_until
) AS failures

-- lock_org --
-- From now on, and for so long, every attempt is refused. Returns the lock that was there before.
WITH before AS (SELECT locked_until FROM org_locks WHERE org_id = %(org_id)s)
UPDATE org_locks AS l
SET locked_until = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM before
WHERE l.org_id = %(org_id)s
RETURNING before.locked_until::text

-- unlock_org --
-- The attempt whose reservation locked the org turned out to be right.
UPDATE org_locks SET locked_until = %(locked_until)s::timestamptz
WHERE org_id = %(org_id)s
RETURNING org_id

-- forgive_address --
-- A right secret forgets the failures of its own address, and of no other.
DELETE FROM auth_failures WHERE org_id = %(org_id)s AND address = %(address)s

-- know_address --
-- This very secret was right from this address just now.
INSERT INTO known_addresses (org_id, address, secret_hmac, right_at)
VALUES (%(org_id)s, %(address)s, %(hmac)s, clock_timestamp())
ON CONFLICT (org_id, address) DO UPDATE
SET secret_hmac = EXCLUDED.secret_hmac, right_at = EXCLUDED.right_at, failed_at = NULL

-- prune_failures_everywhere --
-- What no longer counts.
DELETE FROM auth_failures
WHERE failed_at < clock_timestamp() - make_interval(secs => %(window)s)

-- prune_addresses_everywhere --
-- Addresses are known for a day, and at most so many of an org.
DELETE FROM known_addresses AS k
USING (
    SELECT org_id, address,
        row_number() OVER (PARTITION BY org_id ORDER BY right_at DESC) AS place
    FROM known_addresses
) AS p
WHERE k.org_id = p.org_id AND k.address = p.address
    AND (p.place > %(most)s OR k.right_at < clock_timestamp() - interval '1 day')
