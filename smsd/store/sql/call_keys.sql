-- find_call --
-- What a call made that carried this key, what became of each of its tickets, and which of them
-- ended because their number has opted out.
SELECT encode(k.fingerprint, 'hex'), k.first_id, ARRAY(
    SELECT coalesce((
        SELECT m.status FROM messages AS m WHERE m.org_id = k.org_id AND m.id = t.id), 'deleted')
    FROM generate_series(k.first_id, k.first_id + k.tickets - 1) AS t (id)
    ORDER BY t.id), ARRAY(
    SELECT m.id
    FROM messages AS m
    WHERE m.org_id = k.org_id AND m.id BETWEEN k.first_id AND k.first_id + k.tickets - 1
        AND m.status = 'failed' AND m.error = 'opted_out')
FROM call_keys AS k
WHERE k.org_id = %(org_id)s AND k.key = %(key)s

-- prune_calls_everywhere --
-- Keys that are older than so many days; a batch of them.
DELETE FROM call_keys AS k
USING (
    SELECT org_id, key
    FROM call_keys
    WHERE at < clock_timestamp() - make_interval(days => %(days)s)
    ORDER BY at
    LIMIT 20000
    FOR UPDATE SKIP LOCKED
) AS old
WHERE k.org_id = old.org_id AND k.key = old.key
RETURNING k.key
