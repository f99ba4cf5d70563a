-- What programs and phones hold in place of their org's secret.

CREATE TABLE api_keys (
    org_id         text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    key_id         text NOT NULL,
    hash           bytea NOT NULL,      -- SHA-256 of the key, which is 256 bits of chance
    name           text NOT NULL,
    scopes         text[] NOT NULL,
    to_prefixes    text[] NOT NULL DEFAULT '{}',  -- with one of these a number must begin; none: any
    segments_a_day bigint,              -- null: as many as the org may send
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz,         -- null: never
    last_used_at   timestamptz,         -- to the hour; null: never
    PRIMARY KEY (org_id, key_id),
    CONSTRAINT api_keys_hash UNIQUE (org_id, hash)
);

-- What a key with a budget has spent: apart from the keys, so that whoever sends and whoever asks
-- for a key do not touch the same rows.
CREATE TABLE api_key_spending (
    org_id   text NOT NULL,
    key_id   text NOT NULL,
    day      date NOT NULL,             -- in UTC
    segments bigint NOT NULL,
    PRIMARY KEY (org_id, key_id),
    FOREIGN KEY (org_id, key_id) REFERENCES api_keys ON DELETE CASCADE
) WITH (fillfactor = 50);
