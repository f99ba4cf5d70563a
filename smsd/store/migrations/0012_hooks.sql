-- Events that are posted to programs: to whom, how far each has got, and what came of the posts.

CREATE TABLE hooks (
    org_id        text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    hook_id       text NOT NULL,
    url           text NOT NULL,
    types         text[] NOT NULL DEFAULT '{}',  -- none: all
    direction     text,                 -- null, here and below: any
    address       text,                 -- as it was asked for; by its key it is compared
    address_key   text,
    sim_asked     text,
    sim_slot      smallint,
    sim_digits    text,
    secret        text NOT NULL,
    old_secret    text,                 -- signs beside it until old_until
    old_until     timestamptz,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    enabled       boolean NOT NULL DEFAULT true,
    disabled_why  text,
    disabled_at   timestamptz,
    cursor        bigint NOT NULL,      -- the last event that was taken, given up or passed over
    next_at       timestamptz NOT NULL DEFAULT clock_timestamp(),  -- no post before that
    tries         integer NOT NULL DEFAULT 0,   -- at the event behind the cursor
    failing_since timestamptz,          -- null: the last post was taken, or there was none
    leased_by     text,                 -- the node that posts
    leased_until  timestamptz,
    last_delivery bigint NOT NULL DEFAULT 0,    -- the id of its last attempt
    PRIMARY KEY (org_id, hook_id),
    CONSTRAINT hooks_enabled CHECK (
        enabled = (disabled_why IS NULL) AND enabled = (disabled_at IS NULL))
) WITH (fillfactor = 50);
-- For which of them something may have to be posted.
CREATE INDEX hooks_due ON hooks (next_at) WHERE enabled;

-- Attempts, also of hooks that are no more: they go with the events.
CREATE TABLE deliveries (
    org_id   text NOT NULL,
    hook_id  text NOT NULL,
    id       bigint NOT NULL,           -- per hook, in the order of their ends
    event_id bigint NOT NULL,
    attempt  integer NOT NULL,          -- which at this event, from 1
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    status   smallint,                  -- of the answer; null: error says why there was none
    error    text,
    ms       integer NOT NULL,
    answer   text NOT NULL DEFAULT '',  -- the first KiB
    PRIMARY KEY (org_id, hook_id, id),
    CONSTRAINT deliveries_ended CHECK ((status IS NULL) = (error IS NOT NULL))
);
-- What was said of the events of one address goes with them.
CREATE INDEX deliveries_event ON deliveries (org_id, event_id);
