-- read_ticket --
-- One ticket, and what is known of when it was where. Times in RFC 3339.
SELECT m.id, m.address, m.body, m.status, m.sim_slot, m.sim_number,
    CASE WHEN starts_with(m.phone_id, 'device:') THEN substr(m.phone_id, 8) END,
    m.attempts, m.error, m.error_detail,
    to_json(m.created_at) #>> '{}', to_json(m.handed_at) #>> '{}', to_json(m.pushed_at) #>> '{}',
    to_json(m.received_at) #>> '{}', to_json(m.sent_at) #>> '{}'
FROM messages AS m
WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.direction = 'out'

-- cancel_ticket --
-- A ticket that waits and was never given to a phone, or came back from it for certain, ends
-- because its org says so.
WITH heard AS MATERIALIZED (
    SELECT c.org_id, c.last_event
    FROM org_counters AS c
    WHERE c.org_id = %(org_id)s
        AND c.listens_until > clock_timestamp()
    ORDER BY c.org_id
    FOR UPDATE
), cancelled AS (
    UPDATE messages AS m
    SET status = 'cancelled'
    WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.status = 'queued' AND m.attempts = 0
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING m.*
), told AS (
    INSERT INTO events (
        org_id, id, type, message_id, direction, address_key, sim_slot, sim_digits, data
    )
    SELECT h.org_id, h.last_event + row_number() OVER (PARTITION BY h.org_id ORDER BY m.id),
        'ticket.' || m.status, m.id, m.direction, m.address_key, m.sim_slot, m.sim_digits,
        shown_message(row_to_json(m))
    FROM heard AS h JOIN cancelled AS m USING (org_id)
    RETURNING org_id, id
), told_upto AS (
    UPDATE org_counters AS c
    SET last_event = t.last
    FROM (SELECT org_id, max(id) AS last FROM told GROUP BY org_id) AS t
    WHERE c.org_id = t.org_id
)
SELECT id FROM cancelled
