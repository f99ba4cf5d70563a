-- What happened in an org, in order, for those who want to hear of it at once.

-- Beside last_id, so that whoever waits for the counter's lock reads these as they are by then.
ALTER TABLE org_counters
    ADD COLUMN last_event    bigint NOT NULL DEFAULT 0,
    ADD COLUMN events_from   bigint NOT NULL DEFAULT 0,  -- a cursor below this has missed something
    ADD COLUMN listens_until timestamptz;                -- null: nobody listens

CREATE TABLE events (
    org_id      text NOT NULL,
    id          bigint NOT NULL,        -- per org, in commit order
    type        text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_id  bigint,                 -- null: of a phone; so are the four below
    direction   text,
    address_key text,
    sim_slot    smallint,
    sim_digits  text,
    data        json NOT NULL,          -- the message or the phone as it was then
    PRIMARY KEY (org_id, id)
);
-- What one person wrote is found when it is to be forgotten.
CREATE INDEX events_address ON events (org_id, address_key, id) WHERE address_key IS NOT NULL;

-- A row of messages as GET /messages shows it. By its JSON and not by its type, so that the table
-- can be replaced by a partitioned one.
CREATE FUNCTION shown_message(message json) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT CASE m.direction
        WHEN 'in' THEN row_to_json((SELECT r FROM (SELECT
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at) AS r))
        ELSE row_to_json((SELECT r FROM (SELECT
            m.id, m.direction, m.address, m.body, m.sim_slot, m.sim_number, m.status,
            m.device_ts, m.created_at, m.sent_at, m.attempts, m.error, m.error_detail) AS r))
        END
    FROM json_to_record(message) AS m (
        id bigint, direction text, address text, body text, sim_slot smallint, sim_number text,
        status text, device_ts bigint, created_at timestamptz, sent_at timestamptz,
        attempts integer, error text, error_detail text
    )
$$;

-- A row of sessions as an event tells of the phone; its SIMs as GET /sims shows them.
CREATE FUNCTION shown_phone(session json) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT row_to_json((SELECT r FROM (SELECT
        s.session_id AS session,
        CASE WHEN starts_with(s.phone_id, 'device:') THEN substr(s.phone_id, 8) END AS device_id,
        s.connected_at,
        (SELECT coalesce(json_agg(k ORDER BY k.slot), '[]')
            FROM json_to_recordset(s.sims) AS k (
                slot smallint, number text, label text, carrier text)) AS sims) AS r))
    FROM json_to_record(session) AS s (
        session_id uuid, phone_id text, connected_at timestamptz, sims json
    )
$$;
