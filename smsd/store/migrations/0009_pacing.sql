-- What a SIM may send in how long, what it was given lately, and whose tickets wait for it.

ALTER TABLE org_limits
    ADD COLUMN paces       jsonb,       -- by the SIM as it is asked for: *, slot:N or digits
    ADD COLUMN phones_pace boolean NOT NULL DEFAULT false;  -- some phone ever said how fast it may

-- What a paced SIM was given, for as long as that counts.
CREATE TABLE sim_uses (
    org_id     text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    sim_key    text NOT NULL,           -- as in sims
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_id bigint NOT NULL,
    segments   integer NOT NULL,
    key_id     text,                    -- whose ticket it was: an API key, or null for the secret
    PRIMARY KEY (org_id, sim_key, at, message_id)
);
-- What surely was not sent is given back.
CREATE INDEX sim_uses_message ON sim_uses (org_id, message_id);

ALTER TABLE messages ADD COLUMN key_id text;  -- the API key that sent it; null: the secret
-- Whose tickets wait in a queue, and each's in the order in which they go.
CREATE INDEX messages_queued_by_key ON messages (org_id, sim_key, key_id, rank, id)
    WHERE status = 'queued' AND not_before IS NULL AND key_id IS NOT NULL;
