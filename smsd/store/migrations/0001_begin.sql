-- Orgs, what they sent and received, who is on line.
--
-- Every key and index that an org's rows live under starts with org_id, so that the tables can be
-- partitioned or distributed by org without a change in a query.

CREATE TABLE orgs (
    org_id      text PRIMARY KEY CHECK (org_id ~ '^[A-Za-z0-9_-]{3,64}$'),
    secret_hash text NOT NULL,          -- argon2id, encoded with its parameters
    secret_hmac bytea NOT NULL,         -- HMAC-SHA256 of org and secret under the pepper
    pepper_id   text NOT NULL,          -- which pepper made secret_hmac
    old_hmac    bytea,                  -- the secret before the last rotation ...
    old_until   timestamptz,            -- ... and until when it works on
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Apart from orgs, and outliving them: no message id is ever used twice.
CREATE TABLE org_counters (
    org_id  text PRIMARY KEY,
    last_id bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Apart from orgs, so that guessers and writers never wait for each other's rows.
CREATE TABLE org_locks (
    org_id       text PRIMARY KEY REFERENCES orgs ON DELETE CASCADE,
    locked_until timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE auth_failures (
    org_id    text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    address   text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX auth_failures_recent ON auth_failures (org_id, failed_at);

CREATE TABLE known_addresses (
    org_id      text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    address     text NOT NULL,
    secret_hmac bytea NOT NULL,         -- of the very secret that was right from here
    right_at    timestamptz NOT NULL,
    failed_at   timestamptz,            -- null: not failed since right_at
    PRIMARY KEY (org_id, address)
);

CREATE TABLE messages (
    org_id       text NOT NULL,
    id           bigint NOT NULL,       -- per org, in commit order
    status       text NOT NULL,
    direction    text NOT NULL,
    address      text NOT NULL,
    address_key  text NOT NULL,         -- what an address is looked up by
    body         text NOT NULL,
    sim_slot     smallint,              -- asked for; once taken, the SIM that took it
    sim_number   text,
    sim_digits   text,                  -- sim_number as it is compared
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- of an SMS that arrived
    device_ts    bigint,                -- the phone's own date, Unix milliseconds
    dedupe       bytea,                 -- SHA-256; null where the phone gave no id
    -- of a ticket
    sim_asked    text,                  -- as the agent wrote it
    sim_key      text,                  -- the queue it waits in: *, slot:N or digits
    ref          text,                  -- 16 bytes in hex, the same at every push
    attempts     integer NOT NULL DEFAULT 0,
    session_id   uuid,                  -- the session that has or had it last
    phone_id     text,                  -- who that session's phone said it is
    ledger       boolean NOT NULL DEFAULT false,  -- and whether it keeps a ledger
    handed_at    timestamptz,           -- first given to a session
    pushed_at    timestamptz,           -- last written to a socket; null: not known
    received_at  timestamptz,           -- receipt of that push; null: not known
    receipted    integer NOT NULL DEFAULT 0,  -- pushes that had a receipt and no result
    waited_ms    integer NOT NULL DEFAULT 0,  -- how long its phone was back without it
    sent_at      timestamptz,
    error        text,                  -- a stable slug
    error_detail text,                  -- for people
    PRIMARY KEY (org_id, id),
    -- The states of smsd/domain/lifecycle.py, and what each must carry.
    CONSTRAINT messages_lifecycle CHECK (
        CASE direction
        WHEN 'in' THEN status = 'received' AND sim_key IS NULL AND ref IS NULL AND attempts = 0
        WHEN 'out' THEN sim_key IS NOT NULL AND ref IS NOT NULL AND dedupe IS NULL AND
            CASE status
            WHEN 'queued'  THEN sent_at IS NULL AND error IS NULL
            WHEN 'sending' THEN sent_at IS NULL AND error IS NULL
                                AND attempts >= 1 AND session_id IS NOT NULL
                                AND handed_at IS NOT NULL
            WHEN 'sent'    THEN sent_at IS NOT NULL AND error IS NULL AND attempts >= 1
            WHEN 'failed'  THEN sent_at IS NULL AND error IS NOT NULL
            ELSE false
            END
        ELSE false
        END
    )
) WITH (fillfactor = 85);

-- A retried SMS is stored once. The hash stands for the text, which no index could hold.
CREATE UNIQUE INDEX messages_dedupe ON messages (org_id, dedupe) WHERE dedupe IS NOT NULL;
-- What waits, by the queue it waits in: one silent SIM must not slow its whole org. Only tickets
-- have this state; to ask for the direction too would lead to messages_direction.
CREATE INDEX messages_queued ON messages (org_id, sim_key, id) WHERE status = 'queued';
-- What awaits its result, for the sweep of the unconfirmed.
CREATE INDEX messages_sending ON messages (org_id, handed_at) WHERE status = 'sending';
-- GET /messages by direction, by address and by SIM.
CREATE INDEX messages_direction ON messages (org_id, direction, id);
CREATE INDEX messages_address ON messages (org_id, address_key, id);
CREATE INDEX messages_sim ON messages (org_id, sim_digits, id) WHERE sim_digits IS NOT NULL;

CREATE TABLE sims (
    org_id    text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    sim_key   text NOT NULL,            -- digits of the number, else device:slot, else ?:slot
    slot      smallint NOT NULL,
    number    text,
    label     text,
    carrier   text,
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (org_id, sim_key)
);
CREATE INDEX sims_slot ON sims (org_id, slot);

CREATE TABLE nodes (
    node_id text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

CREATE TABLE sessions (
    org_id       text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    session_id   uuid NOT NULL,
    phone_id     text NOT NULL,
    node_id      text NOT NULL,
    sims         jsonb NOT NULL DEFAULT '[]',
    connected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, session_id)
);
CREATE INDEX sessions_node ON sessions (node_id);
