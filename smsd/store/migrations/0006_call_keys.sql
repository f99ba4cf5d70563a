-- Calls that carry a key are carried out once: which tickets each made.

CREATE TABLE call_keys (
    org_id      text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    key         text NOT NULL,          -- as the agent chose it
    fingerprint bytea NOT NULL,         -- SHA-256 of what was asked
    first_id    bigint NOT NULL,        -- its tickets have ids that follow each other
    tickets     integer NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, key)
);
CREATE INDEX call_keys_at ON call_keys (at);
