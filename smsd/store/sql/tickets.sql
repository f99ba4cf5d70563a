-- read_ticket --
-- One ticket, and what is known of when it was where. Times in RFC 3339. One that is given away as it
-- is accepted has the two moments of one statement, which reads the clock for either.
SELECT m.id, m.address, m.body, m.status, m.sim_slot, m.sim_number,
    CASE WHEN starts_with(m.phone_id, 'device:') THEN substr(m.phone_id, 8) END,
    m.attempts, m.error, m.error_detail, -m.rank,
    to_json(m.send_at) #>> '{}', to_json(m.expires_at) #>> '{}', m.receipt IS TRUE,
    to_json(m.created_at) #>> '{}',
    to_json(CASE WHEN m.handed_at < m.created_at THEN m.created_at ELSE m.handed_at END) #>> '{}',
    to_json(m.pushed_at) #>> '{}',
    to_json(m.received_at) #>> '{}', to_json(m.sent_at) #>> '{}', to_json(m.delivered_at) #>> '{}',
    CASE WHEN m.status = 'failed' THEN to_json(e.ended_at) #>> '{}' END,
    CASE WHEN m.status = 'cancelled' THEN to_json(e.ended_at) #>> '{}' END,
    CASE WHEN m.status = 'expired' THEN to_json(e.ended_at) #>> '{}' END
FROM messages AS m
CROSS JOIN LATERAL (
    -- One that was refused as it was accepted has ended then.
    SELECT coalesce(m.ended_at, CASE WHEN m.error = 'opted_out' THEN m.created_at END) AS ended_at
) AS e
WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.direction = 'out'

-- cancel_ticket --
-- A ticket that waits and was never given to a phone, or came back from it for certain, ends
-- because its org says so.
WITH heard AS MATERIALIZED (
    @listening_one
), cancelled AS (
    UPDATE messages AS m
    SET status = 'cancelled'
    WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.status = 'queued' AND m.attempts = 0
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING m.*
), told AS (
    @tell_of_tickets cancelled
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT id FROM cancelled

-- cancel_handed --
-- A ticket ends because the phone that has it gave it back. Only the session's that has it now, and
-- only where the phone keeps a ledger, counts.
WITH heard AS MATERIALIZED (
    @listening_one
), cancelled AS (
    UPDATE messages AS m
    SET status = 'cancelled'
    WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.status = 'sending'
        AND m.session_id = %(session_id)s::uuid AND m.ledger
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING m.*
), told AS (
    @tell_of_tickets cancelled
    RETURNING org_id, id
), told_upto AS (
    @count_told
), given_back AS (
    -- Its SIM has not sent it. What it was given before counts on, for nobody knows.
    DELETE FROM sim_uses AS u
    USING cancelled AS m
    WHERE u.org_id = m.org_id AND u.message_id = m.id AND m.attempts = 1
)
SELECT CASE WHEN EXISTS (SELECT FROM cancelled) THEN 'cancelled'
    WHEN m.status = 'cancelled' THEN 'repeated'
    ELSE 'ignored' END
FROM messages AS m
WHERE m.org_id = %(org_id)s AND m.id = %(id)s AND m.attempts >= 1

-- read_reply --
-- A ticket's status, and as GET /messages shows it the first SMS behind the ticket that came from
-- its number on its SIM: the number of that SIM must be the same or, where one of both is not known,
-- the slot, as far as that is.
SELECT t.status, r.shown
FROM messages AS t
LEFT JOIN LATERAL (
    SELECT shown_message(row_to_json(m))::text AS shown
    FROM messages AS m
    WHERE m.org_id = %(org_id)s AND m.address_key = t.address_key AND m.id > t.id
        AND m.direction = 'in'
        AND coalesce(m.sim_digits = t.sim_digits, m.sim_slot = t.sim_slot, true)
    ORDER BY m.id
    LIMIT 1
) AS r ON true
WHERE t.org_id = %(org_id)s AND t.id = %(id)s AND t.direction = 'out'
