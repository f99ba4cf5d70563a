-- Tickets that are sent later, or not after a time, or before others: and one more state for good.

ALTER TABLE messages
    ADD COLUMN rank       smallint NOT NULL DEFAULT 0,  -- minus its priority: less goes first
    ADD COLUMN send_at    timestamptz,  -- as the agent asked; null: at once
    ADD COLUMN not_before timestamptz,  -- until then it is in no queue; null: it is in its queue
    ADD COLUMN expires_at timestamptz;  -- from then on it is not sent; null: whenever it can be

-- In the order in which a queue is served, without those whose time has not come.
DROP INDEX messages_queued;
CREATE INDEX messages_queued ON messages (org_id, sim_key, rank, id)
    WHERE status = 'queued' AND not_before IS NULL;
-- When something is next to be done about a ticket that waits: it enters its queue, or expires.
CREATE INDEX messages_timed ON messages (org_id, (coalesce(not_before, expires_at)))
    WHERE status = 'queued' AND (not_before IS NOT NULL OR expires_at IS NOT NULL);

ALTER TABLE messages DROP CONSTRAINT messages_lifecycle;
ALTER TABLE messages ADD CONSTRAINT messages_lifecycle CHECK (
    CASE direction
    WHEN 'in' THEN status = 'received' AND sim_key IS NULL AND ref IS NULL AND attempts = 0
    WHEN 'out' THEN sim_key IS NOT NULL AND ref IS NOT NULL AND dedupe IS NULL AND
        CASE status
        WHEN 'queued'    THEN sent_at IS NULL AND error IS NULL
        WHEN 'sending'   THEN sent_at IS NULL AND error IS NULL
                              AND attempts >= 1 AND session_id IS NOT NULL
                              AND handed_at IS NOT NULL
        WHEN 'sent'      THEN sent_at IS NOT NULL AND error IS NULL AND attempts >= 1
        WHEN 'failed'    THEN sent_at IS NULL AND error IS NOT NULL
        WHEN 'cancelled' THEN sent_at IS NULL AND error IS NULL AND attempts = 0
        WHEN 'expired'   THEN sent_at IS NULL AND error IS NULL AND expires_at IS NOT NULL
        ELSE false
        END
    ELSE false
    END
);

-- What GET /messages shows, and events; a type is planned in no time where a subquery is not.
CREATE TYPE shown_inbound AS (
    id bigint, direction text, address text, body text, sim_slot smallint, sim_number text,
    status text, device_ts bigint, created_at timestamptz
);
CREATE TYPE shown_outbound AS (
    id bigint, direction text, address text, body text, sim_slot smallint, sim_number text,
    status text, device_ts bigint, created_at timestamptz,
    sent_at timestamptz, attempts integer, error text, error_detail text
);
-- A ticket that used one of these shows them; one that did not is shown as it always was.
CREATE TYPE shown_timed AS (
    id bigint, direction text, address text, body text, sim_slot smallint, sim_number text,
    status text, device_ts bigint, created_at timestamptz,
    sent_at timestamptz, attempts integer, error text, error_detail text,
    send_at timestamptz, expires_at timestamptz, priority integer
);

CREATE OR REPLACE FUNCTION shown_message(message json) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN m.direction = 'in' THEN row_to_json(ROW(
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at)::shown_inbound)
        WHEN m.rank = 0 AND m.send_at IS NULL AND m.expires_at IS NULL
        THEN row_to_json(ROW(
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at, m.sent_at, m.attempts, m.error, m.error_detail
            )::shown_outbound)
        ELSE row_to_json(ROW(
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at, m.sent_at, m.attempts, m.error, m.error_detail,
            m.send_at, m.expires_at, -m.rank)::shown_timed)
        END
    FROM json_to_record(message) AS m (
        id bigint, direction text, address text, body text, sim_slot smallint, sim_number text,
        status text, device_ts bigint, created_at timestamptz, sent_at timestamptz,
        attempts integer, error text, error_detail text,
        rank smallint, send_at timestamptz, expires_at timestamptz
    )
$$;
