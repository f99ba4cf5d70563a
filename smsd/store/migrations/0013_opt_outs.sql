-- Numbers that want to hear nothing more, of orgs that keep to it.

-- Where it is read: within the statement that stores, and so beside the id. null: the org does not
-- keep to it; org: a STOP holds for the whole org; sim: for the SIM that heard it.
ALTER TABLE org_counters ADD COLUMN opt_out_scope text
    CONSTRAINT org_counters_scope CHECK (opt_out_scope IN ('org', 'sim'));

-- The same as the org has set it, with the texts of its answers.
ALTER TABLE org_limits ADD COLUMN opt_outs jsonb;

CREATE TABLE opt_outs (
    org_id      text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    address_key text NOT NULL,
    sim_digits  text NOT NULL,          -- of the SIM that heard it; empty: not known, so all
    address     text NOT NULL,
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    word        text,                   -- what it sent; null: the org wrote it down
    PRIMARY KEY (org_id, address_key, sim_digits)
);

-- The last answer of each kind that a number had, or is to have.
CREATE TABLE opt_out_answers (
    org_id      text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    address_key text NOT NULL,
    what        text NOT NULL,          -- stopped, started or help
    address     text NOT NULL,
    sim_slot    smallint,               -- the SIM that heard it, as far as that is known
    sim_number  text,
    message_id  bigint NOT NULL,        -- of the SMS that is answered
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    answered    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, address_key, what)
);
CREATE INDEX opt_out_answers_owed ON opt_out_answers (org_id) WHERE NOT answered;

-- Of a ticket: the SMS of somebody who has opted out that it answers. It goes all the same.
ALTER TABLE messages ADD COLUMN answers bigint;
