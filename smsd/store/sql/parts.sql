-- part listening_of --
-- The counters of those orgs of $1 that have a listener, locked in org order before any ticket or
-- session is. Nobody else's is.
SELECT c.org_id, c.last_event
FROM org_counters AS c
WHERE c.org_id = ANY (ARRAY(SELECT DISTINCT org_id FROM $1))
    AND c.listens_until > clock_timestamp()
ORDER BY c.org_id
FOR UPDATE

-- part listening_one --
-- The same for one org.
SELECT c.org_id, c.last_event
FROM org_counters AS c
WHERE c.org_id = %(org_id)s
    AND c.listens_until > clock_timestamp()
ORDER BY c.org_id
FOR UPDATE

-- part tell_of_tickets --
-- An event for each ticket of $1 whose org is among those heard, by the state that it has now.
INSERT INTO events (
    org_id, id, type, message_id, direction, address_key, sim_slot, sim_digits, data
)
SELECT h.org_id, h.last_event + row_number() OVER (PARTITION BY h.org_id ORDER BY m.id),
    'ticket.' || m.status, m.id, m.direction, m.address_key, m.sim_slot, m.sim_digits,
    shown_message(row_to_json(m))
FROM heard AS h JOIN $1 AS m USING (org_id)

-- part tell_of_phones --
-- An event of the type $1 for each session of $2 whose org is among those heard.
INSERT INTO events (org_id, id, type, data)
SELECT h.org_id,
    h.last_event + row_number() OVER (
        PARTITION BY h.org_id ORDER BY s.connected_at, s.session_id),
    '$1', shown_phone(row_to_json(s))
FROM heard AS h JOIN $2 AS s USING (org_id)

-- part count_told --
-- The counters go on behind the events that were told.
UPDATE org_counters AS c
SET last_event = t.last
FROM (SELECT org_id, max(id) AS last FROM told GROUP BY org_id) AS t
WHERE c.org_id = t.org_id

-- part unconfirmed --
-- Tickets that a phone took and has not confirmed in time, so many as one statement may end.
SELECT org_id, id
FROM messages
WHERE status = 'sending'
    AND handed_at < clock_timestamp() - make_interval(secs => %(timeout)s)
ORDER BY org_id, id
LIMIT 1000

-- part claim_free --
-- The tickets of the table free (org_id, id, refused) become the session's, each with the SIM of
-- the row of serves (see Served) whose queue it waits in; those that are refused end.
UPDATE messages AS m
SET status = CASE WHEN f.refused THEN 'failed' ELSE 'sending' END,
    error = CASE WHEN f.refused THEN 'opted_out' END,
    error_detail = CASE WHEN f.refused
        THEN 'This number has opted out of SMS of this org, or the org has opted it out.' END,
    attempts = m.attempts + CASE WHEN f.refused THEN 0 ELSE 1 END,
    session_id = %(session_id)s::uuid,
    phone_id = %(phone_id)s,
    ledger = %(ledger)s,
    handed_at = CASE WHEN f.refused THEN m.handed_at
        ELSE coalesce(m.handed_at, clock_timestamp()) END,
    pushed_at = NULL,
    received_at = NULL,
    sim_slot = coalesce(s.sim_slot, m.sim_slot),
    sim_number = coalesce(s.sim_number, m.sim_number),
    sim_digits = coalesce(s.sim_digits, m.sim_digits)
FROM serves AS s, unnest(
    ARRAY(SELECT org_id FROM free), ARRAY(SELECT id FROM free), ARRAY(SELECT refused FROM free)
) AS f (org_id, id, refused)
WHERE m.org_id = f.org_id AND m.id = f.id AND s.sim_key = m.sim_key
RETURNING m.*

-- part scope_one --
-- For whom a STOP holds in the org; null where it does not keep to it.
SELECT c.opt_out_scope AS scope
FROM org_counters AS c
WHERE c.org_id = %(org_id)s

-- part opted_out --
-- Whether the number of $1 (a ticket) wants nothing more of the SIM $2 (digits; null: not known,
-- and so it does not), where $3 is for whom a STOP holds. The limit keeps the planner from reading
-- all numbers to answer it for many tickets.
CASE WHEN $3 IS NOT NULL AND $1.answers IS NULL THEN (
    SELECT true
    FROM opt_outs AS o
    WHERE o.org_id = $1.org_id AND o.address_key = $1.address_key
        AND ($3 = 'org' OR o.sim_digits IN ('', coalesce($2, o.sim_digits)))
    LIMIT 1
) IS TRUE ELSE false END

-- part hook_is_due --
-- Whether something may have to be posted to the hook h now by the node that asks, which does not
-- do so already.
h.enabled AND h.next_at <= statement_timestamp()
AND (h.leased_until IS NULL OR h.leased_until <= statement_timestamp()
    OR h.leased_by = %(node_id)s)
AND (%(org_ids)s::text[] IS NULL OR h.org_id = ANY (%(org_ids)s::text[]))
AND h.org_id || '/' || h.hook_id <> ALL (%(busy)s::text[])
AND (SELECT c.last_event FROM org_counters AS c WHERE c.org_id = h.org_id) > h.cursor
AND (SELECT o.pepper_id FROM orgs AS o WHERE o.org_id = h.org_id) <> 'closed'
