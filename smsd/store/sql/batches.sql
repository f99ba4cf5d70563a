-- hasten --
-- In this transaction no lock is waited for any longer.
SELECT set_config('lock_timeout', %(lock_timeout)s, true)

-- fence_batch --
-- Make the batch void, unless it is stored. Waits for the end of its transaction where that runs.
INSERT INTO batches (batch_id) VALUES (%(batch_id)s::uuid)
ON CONFLICT (batch_id) DO NOTHING

-- read_batch --
-- What the batch gave out; null where it is void.
SELECT ids FROM batches WHERE batch_id = %(batch_id)s::uuid

-- prune_batches_everywhere --
-- Batches that nobody asks for any more. Void ones stay longer, for a statement may come late.
DELETE FROM batches
WHERE batch_id = ANY (ARRAY(
    SELECT batch_id
    FROM batches
    WHERE at < clock_timestamp() - interval '1 hour'
        AND (ids IS NOT NULL OR at < clock_timestamp() - interval '1 day')
    ORDER BY at
    LIMIT 20000
    FOR UPDATE SKIP LOCKED
))
RETURNING batch_id
