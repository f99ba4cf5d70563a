-- Whether an SMS arrived, where the agent asks for it: one more state for good.

ALTER TABLE messages
    ADD COLUMN receipt      boolean,      -- whether a delivery report was asked for; null: no
    ADD COLUMN delivered_at timestamptz;  -- by the phone's clock, where it says

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
        -- With an error: it went out and did not arrive.
        WHEN 'sent'      THEN sent_at IS NOT NULL AND (error IS NULL OR receipt IS TRUE)
                              AND attempts >= 1
        WHEN 'failed'    THEN sent_at IS NULL AND error IS NOT NULL
        WHEN 'cancelled' THEN sent_at IS NULL AND error IS NULL AND attempts = 0
        WHEN 'expired'   THEN sent_at IS NULL AND error IS NULL AND expires_at IS NOT NULL
        WHEN 'delivered' THEN sent_at IS NOT NULL AND error IS NULL AND attempts >= 1
                              AND receipt IS TRUE AND delivered_at IS NOT NULL
        ELSE false
        END
    ELSE false
    END
);

ALTER TYPE shown_timed ADD ATTRIBUTE receipt boolean, ADD ATTRIBUTE delivered_at timestamptz;

CREATE OR REPLACE FUNCTION shown_message(message json) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN m.direction = 'in' THEN row_to_json(ROW(
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at)::shown_inbound)
        WHEN m.rank = 0 AND m.send_at IS NULL AND m.expires_at IS NULL AND m.receipt IS NULL
        THEN row_to_json(ROW(
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at, m.sent_at, m.attempts, m.error, m.error_detail
            )::shown_outbound)
        ELSE row_to_json(ROW(
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at, m.sent_at, m.attempts, m.error, m.error_detail,
            m.send_at, m.expires_at, -m.rank, m.receipt IS TRUE, m.delivered_at)::shown_timed)
        END
    FROM json_to_record(message) AS m (
        id bigint, direction text, address text, body text, sim_slot smallint, sim_number text,
        status text, device_ts bigint, created_at timestamptz, sent_at timestamptz,
        attempts integer, error text, error_detail text,
        rank smallint, send_at timestamptz, expires_at timestamptz,
        receipt boolean, delivered_at timestamptz
    )
$$;
