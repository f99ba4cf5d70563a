-- read_ticket --
-- One ticket, and what is known of when it was where. Times in RFC 3339.
SELECT m.id, m.address, m.body, m.status, m.sim_slot, m.sim_number,
    CASE WHEN starts_with(m.phone_id, 'device:') THEN substr(m.phone_id, 8) END,
    m.attempts, m.error, m.error_detail,
    to_json(m.created_at) #>> '{}', to_json(m.handed_at) #>> '{}', to_json(m.pushed_at) #>> '{}',
    to_json(m.received_at) #>> '{}', to_json(m.sent_at) #>> '{}'
FROM messages AS m
WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.direction = 'out'
