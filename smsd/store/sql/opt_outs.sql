-- Who wants to hear nothing more. What numbers say themselves is acted upon in append_messages,
-- which also refuses their tickets; so do claim_tickets, claim_in_turn and push_again.

-- set_opt_outs --
-- From now on the org keeps to it like this, or (null) does not. After hold_limits.
WITH kept AS (
    UPDATE org_counters
    SET opt_out_scope = %(opt_outs)s::jsonb ->> 'scope'
    WHERE org_id = %(org_id)s
)
UPDATE org_limits
SET opt_outs = %(opt_outs)s::jsonb
WHERE org_id = %(org_id)s
RETURNING row_to_json(org_limits)::text

-- read_opt_outs --
-- Numbers that have opted out, a page of them after one of them, or (address_key) one.
SELECT address_key, address, sim_digits, to_json(since) #>> '{}', word
FROM opt_outs
WHERE org_id = %(org_id)s
    AND (%(address_key)s::text IS NULL OR address_key = %(address_key)s::text)
    AND (address_key, sim_digits) > (%(after_key)s, %(after_sim)s)
ORDER BY address_key, sim_digits
LIMIT %(most)s

-- opt_out --
-- The org writes down that a number wants nothing more of any SIM.
INSERT INTO opt_outs AS o (org_id, address_key, sim_digits, address)
VALUES (%(org_id)s, %(address_key)s, '', %(address)s)
ON CONFLICT (org_id, address_key, sim_digits) DO NOTHING

-- lift_opt_out --
-- The number may be sent to again.
DELETE FROM opt_outs
WHERE org_id = %(org_id)s AND address_key = %(address_key)s
RETURNING sim_digits

-- refuse_given --
-- Tickets that were stored for a session that has not been given them, and whose number opted out
-- while they waited to be stored, end; with them those that had ended for that when they were
-- stored. It may be repeated.
WITH heard AS MATERIALIZED (
    @listening_one
), opting AS MATERIALIZED (
    @scope_one
), held AS MATERIALIZED (
    SELECT m.org_id, m.id,
        @opted_out m m.sim_digits k.scope
        AS refused
    FROM messages AS m LEFT JOIN opting AS k ON true
    WHERE m.org_id = %(org_id)s AND m.id = ANY (%(given)s::bigint[])
        AND m.status = 'sending' AND m.attempts = 1 AND m.pushed_at IS NULL
        AND (SELECT count(*) FROM heard) >= 0
    ORDER BY m.id
    FOR UPDATE OF m
), ended AS (
    UPDATE messages AS m
    SET status = 'failed',
        error = 'opted_out',
        error_detail =
            'This number has opted out of SMS of this org, or the org has opted it out.',
        attempts = 0, session_id = NULL, phone_id = NULL, handed_at = NULL
    FROM held AS h
    WHERE m.org_id = h.org_id AND m.id = h.id AND h.refused
    RETURNING m.*
), told AS (
    @tell_of_tickets ended
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT id FROM ended
UNION ALL
SELECT m.id
FROM messages AS m
WHERE m.org_id = %(org_id)s AND m.id = ANY (%(ids)s::bigint[])
    AND m.status = 'failed' AND m.error = 'opted_out'

-- would_refuse --
-- Which of these tickets would end because their number has opted out, were they sent now. `taken`:
-- a phone would take it; where none would, and it is for any SIM, whoever claims it will know.
SELECT g.ord
FROM org_counters AS c CROSS JOIN json_to_recordset(%(rows)s::json) AS g (
    ord integer, address_key text, sim_digits text, taken boolean
)
WHERE c.org_id = %(org_id)s AND c.opt_out_scope IS NOT NULL
    AND (c.opt_out_scope = 'org' OR g.taken OR g.sim_digits IS NOT NULL)
    AND has_opted_out(c.org_id, g.address_key, g.sim_digits, c.opt_out_scope)

-- owing_everywhere --
-- Which orgs owe somebody an answer, so many at most.
SELECT DISTINCT org_id
FROM opt_out_answers
WHERE NOT answered
ORDER BY org_id
LIMIT %(most)s

-- take_owed --
-- What an org owes is taken on, and what is old forgotten. After hold_counter.
WITH old AS (
    DELETE FROM opt_out_answers
    WHERE org_id = %(org_id)s AND answered AND at < clock_timestamp() - interval '1 hour'
)
UPDATE opt_out_answers
SET answered = true
WHERE org_id = %(org_id)s AND NOT answered
RETURNING what, address, sim_slot, sim_number, message_id
