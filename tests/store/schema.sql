SELECT pg_catalog.set_config('search_path', '', false);

CREATE TYPE public.shown_inbound AS (
	id bigint,
	direction text,
	address text,
	body text,
	sim_slot smallint,
	sim_number text,
	status text,
	device_ts bigint,
	created_at timestamp with time zone
);

CREATE TYPE public.shown_outbound AS (
	id bigint,
	direction text,
	address text,
	body text,
	sim_slot smallint,
	sim_number text,
	status text,
	device_ts bigint,
	created_at timestamp with time zone,
	sent_at timestamp with time zone,
	attempts integer,
	error text,
	error_detail text
);

CREATE TYPE public.shown_timed AS (
	id bigint,
	direction text,
	address text,
	body text,
	sim_slot smallint,
	sim_number text,
	status text,
	device_ts bigint,
	created_at timestamp with time zone,
	sent_at timestamp with time zone,
	attempts integer,
	error text,
	error_detail text,
	send_at timestamp with time zone,
	expires_at timestamp with time zone,
	priority integer,
	receipt boolean,
	delivered_at timestamp with time zone
);

CREATE FUNCTION public.has_opted_out(org text, key text, digits text, scope text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM opt_outs AS o
        WHERE o.org_id = org AND o.address_key = key
            AND (scope = 'org' OR o.sim_digits IN ('', coalesce(digits, o.sim_digits)))
    );
END
$$;

CREATE FUNCTION public.heed(org text, id bigint, address text, key text, slot smallint, number text, digits text, body text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    -- Those that people's phones put there, unseen: no-break, em and thin spaces, byte order marks.
    blanks text := E' \t\r\n\v\f\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006'
        '\u2007\u2008\u2009\u200A\u200B\u200E\u200F\u2028\u2029\u202F\u205F\u2060\u3000\uFEFF';
    said text := upper(btrim(body, blanks));
    what text;
    scope text := (SELECT c.opt_out_scope FROM org_counters AS c WHERE c.org_id = org);
BEGIN
    IF scope IS NULL THEN
        RETURN false;
    END IF;
    IF said IN ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT') THEN
        what := 'stopped';
        INSERT INTO opt_outs (org_id, address_key, sim_digits, address, word)
        VALUES (org, key, coalesce(digits, ''), address, said)
        ON CONFLICT DO NOTHING;
    ELSIF said IN ('START', 'UNSTOP') THEN
        what := 'started';
        DELETE FROM opt_outs AS o
        WHERE o.org_id = org AND o.address_key = key
            AND (scope = 'org' OR o.sim_digits IN ('', coalesce(digits, '')));
    ELSIF said = 'HELP' THEN
        what := 'help';
    ELSE
        RETURN false;
    END IF;
    IF FOUND OR what = 'help' THEN
        -- Whom a word has moved is told so, and nobody the same twice within an hour.
        INSERT INTO opt_out_answers AS a (
            org_id, address_key, what, address, sim_slot, sim_number, message_id
        )
        VALUES (org, key, what, address, slot, number, id)
        ON CONFLICT ON CONSTRAINT opt_out_answers_pkey DO UPDATE
        SET address = EXCLUDED.address, sim_slot = EXCLUDED.sim_slot,
            sim_number = EXCLUDED.sim_number, message_id = EXCLUDED.message_id,
            at = EXCLUDED.at, answered = false
        WHERE a.at < clock_timestamp() - interval '1 hour';
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION public.note_end() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.ended_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION public.shown_message(message json) RETURNS json
    LANGUAGE sql STABLE
    AS $$
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

CREATE FUNCTION public.shown_phone(session json) RETURNS json
    LANGUAGE sql STABLE
    AS $$
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

CREATE TABLE public.api_key_spending (
    org_id text NOT NULL,
    key_id text NOT NULL,
    day date NOT NULL,
    segments bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.api_keys (
    org_id text NOT NULL,
    key_id text NOT NULL,
    hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    to_prefixes text[] DEFAULT '{}'::text[] NOT NULL,
    segments_a_day bigint,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone
);

CREATE TABLE public.auth_failures (
    org_id text NOT NULL,
    address text NOT NULL,
    failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.batches (
    batch_id uuid NOT NULL,
    ids bigint[],
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.call_keys (
    org_id text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    first_id bigint NOT NULL,
    tickets integer NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.deliveries (
    org_id text NOT NULL,
    hook_id text NOT NULL,
    id bigint NOT NULL,
    event_id bigint NOT NULL,
    attempt integer NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    status smallint,
    error text,
    ms integer NOT NULL,
    answer text DEFAULT ''::text NOT NULL,
    CONSTRAINT deliveries_ended CHECK (((status IS NULL) = (error IS NOT NULL)))
);

CREATE TABLE public.events (
    org_id text NOT NULL,
    id bigint NOT NULL,
    type text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    message_id bigint,
    direction text,
    address_key text,
    sim_slot smallint,
    sim_digits text,
    data json NOT NULL
);

CREATE TABLE public.hooks (
    org_id text NOT NULL,
    hook_id text NOT NULL,
    url text NOT NULL,
    types text[] DEFAULT '{}'::text[] NOT NULL,
    direction text,
    address text,
    address_key text,
    sim_asked text,
    sim_slot smallint,
    sim_digits text,
    secret text NOT NULL,
    old_secret text,
    old_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    disabled_why text,
    disabled_at timestamp with time zone,
    cursor bigint NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    leased_by text,
    leased_until timestamp with time zone,
    last_delivery bigint DEFAULT 0 NOT NULL,
    proven boolean DEFAULT false NOT NULL,
    CONSTRAINT hooks_enabled CHECK (((enabled = (disabled_why IS NULL)) AND (enabled = (disabled_at IS NULL))))
)
WITH (fillfactor='50');

CREATE TABLE public.known_addresses (
    org_id text NOT NULL,
    address text NOT NULL,
    secret_hmac bytea NOT NULL,
    right_at timestamp with time zone NOT NULL,
    failed_at timestamp with time zone
);

CREATE TABLE public.messages (
    org_id text NOT NULL,
    id bigint NOT NULL,
    status text NOT NULL,
    direction text NOT NULL,
    address text NOT NULL,
    address_key text NOT NULL,
    body text NOT NULL,
    sim_slot smallint,
    sim_number text,
    sim_digits text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    device_ts bigint,
    dedupe bytea,
    sim_asked text,
    sim_key text,
    ref text,
    attempts integer DEFAULT 0 NOT NULL,
    session_id uuid,
    phone_id text,
    ledger boolean DEFAULT false NOT NULL,
    handed_at timestamp with time zone,
    pushed_at timestamp with time zone,
    received_at timestamp with time zone,
    receipted integer DEFAULT 0 NOT NULL,
    waited_ms integer DEFAULT 0 NOT NULL,
    sent_at timestamp with time zone,
    error text,
    error_detail text,
    rank smallint DEFAULT 0 NOT NULL,
    send_at timestamp with time zone,
    not_before timestamp with time zone,
    expires_at timestamp with time zone,
    key_id text,
    receipt boolean,
    delivered_at timestamp with time zone,
    answers bigint,
    ended_at timestamp with time zone,
    CONSTRAINT messages_lifecycle CHECK (
CASE direction
    WHEN 'in'::text THEN ((status = 'received'::text) AND (sim_key IS NULL) AND (ref IS NULL) AND (attempts = 0))
    WHEN 'out'::text THEN ((sim_key IS NOT NULL) AND (ref IS NOT NULL) AND (dedupe IS NULL) AND
    CASE status
        WHEN 'queued'::text THEN ((sent_at IS NULL) AND (error IS NULL))
        WHEN 'sending'::text THEN ((sent_at IS NULL) AND (error IS NULL) AND (attempts >= 1) AND (session_id IS NOT NULL) AND (handed_at IS NOT NULL))
        WHEN 'sent'::text THEN ((sent_at IS NOT NULL) AND ((error IS NULL) OR (receipt IS TRUE)) AND (attempts >= 1))
        WHEN 'failed'::text THEN ((sent_at IS NULL) AND (error IS NOT NULL))
        WHEN 'cancelled'::text THEN ((sent_at IS NULL) AND (error IS NULL) AND ((attempts = 0) OR ledger))
        WHEN 'expired'::text THEN ((sent_at IS NULL) AND (error IS NULL) AND (expires_at IS NOT NULL))
        WHEN 'delivered'::text THEN ((sent_at IS NOT NULL) AND (error IS NULL) AND (attempts >= 1) AND (receipt IS TRUE) AND (delivered_at IS NOT NULL))
        ELSE false
    END)
    ELSE false
END)
)
WITH (fillfactor='85');

CREATE TABLE public.nodes (
    node_id text NOT NULL,
    seen_at timestamp with time zone NOT NULL
);

CREATE TABLE public.opt_out_answers (
    org_id text NOT NULL,
    address_key text NOT NULL,
    what text NOT NULL,
    address text NOT NULL,
    sim_slot smallint,
    sim_number text,
    message_id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    answered boolean DEFAULT false NOT NULL
);

CREATE TABLE public.opt_outs (
    org_id text NOT NULL,
    address_key text NOT NULL,
    sim_digits text NOT NULL,
    address text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    word text
);

CREATE TABLE public.org_counters (
    org_id text NOT NULL,
    last_id bigint DEFAULT 0 NOT NULL,
    last_event bigint DEFAULT 0 NOT NULL,
    events_from bigint DEFAULT 0 NOT NULL,
    listens_until timestamp with time zone,
    opt_out_scope text,
    CONSTRAINT org_counters_scope CHECK ((opt_out_scope = ANY (ARRAY['org'::text, 'sim'::text])))
)
WITH (fillfactor='50');

CREATE TABLE public.org_limits (
    org_id text NOT NULL,
    max_stored bigint,
    max_queued bigint,
    max_sends_per_minute bigint,
    to_prefixes text[],
    queue_ttl bigint,
    paces jsonb,
    phones_pace boolean DEFAULT false NOT NULL,
    opt_outs jsonb
);

CREATE TABLE public.org_locks (
    org_id text NOT NULL,
    locked_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
);

CREATE TABLE public.orgs (
    org_id text NOT NULL,
    secret_hash text NOT NULL,
    secret_hmac bytea NOT NULL,
    pepper_id text NOT NULL,
    old_hmac bytea,
    old_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT orgs_org_id_check CHECK ((org_id ~ '^[A-Za-z0-9_-]{3,64}$'::text))
);

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sessions (
    org_id text NOT NULL,
    session_id uuid NOT NULL,
    phone_id text NOT NULL,
    node_id text NOT NULL,
    sims jsonb DEFAULT '[]'::jsonb NOT NULL,
    connected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.sim_uses (
    org_id text NOT NULL,
    sim_key text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    message_id bigint NOT NULL,
    segments integer NOT NULL,
    key_id text
);

CREATE TABLE public.sims (
    org_id text NOT NULL,
    sim_key text NOT NULL,
    slot smallint NOT NULL,
    number text,
    label text,
    carrier text,
    last_seen timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.api_key_spending
    ADD CONSTRAINT api_key_spending_pkey PRIMARY KEY (org_id, key_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash UNIQUE (org_id, hash);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (org_id, key_id);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (batch_id);

ALTER TABLE ONLY public.call_keys
    ADD CONSTRAINT call_keys_pkey PRIMARY KEY (org_id, key);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (org_id, hook_id, id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (org_id, id);

ALTER TABLE ONLY public.hooks
    ADD CONSTRAINT hooks_pkey PRIMARY KEY (org_id, hook_id);

ALTER TABLE ONLY public.known_addresses
    ADD CONSTRAINT known_addresses_pkey PRIMARY KEY (org_id, address);

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (org_id, id);

ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT nodes_pkey PRIMARY KEY (node_id);

ALTER TABLE ONLY public.opt_out_answers
    ADD CONSTRAINT opt_out_answers_pkey PRIMARY KEY (org_id, address_key, what);

ALTER TABLE ONLY public.opt_outs
    ADD CONSTRAINT opt_outs_pkey PRIMARY KEY (org_id, address_key, sim_digits);

ALTER TABLE ONLY public.org_counters
    ADD CONSTRAINT org_counters_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY public.org_limits
    ADD CONSTRAINT org_limits_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY public.org_locks
    ADD CONSTRAINT org_locks_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY public.orgs
    ADD CONSTRAINT orgs_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (org_id, session_id);

ALTER TABLE ONLY public.sim_uses
    ADD CONSTRAINT sim_uses_pkey PRIMARY KEY (org_id, sim_key, at, message_id);

ALTER TABLE ONLY public.sims
    ADD CONSTRAINT sims_pkey PRIMARY KEY (org_id, sim_key);

CREATE INDEX auth_failures_recent ON public.auth_failures USING btree (org_id, failed_at);

CREATE INDEX batches_at ON public.batches USING btree (at);

CREATE INDEX call_keys_at ON public.call_keys USING btree (at);

CREATE INDEX deliveries_event ON public.deliveries USING btree (org_id, event_id);

CREATE INDEX events_address ON public.events USING btree (org_id, address_key, id) WHERE (address_key IS NOT NULL);

CREATE INDEX hooks_due ON public.hooks USING btree (next_at) WHERE enabled;

CREATE INDEX messages_address ON public.messages USING btree (org_id, address_key, id);

CREATE UNIQUE INDEX messages_dedupe ON public.messages USING btree (org_id, dedupe) WHERE (dedupe IS NOT NULL);

CREATE INDEX messages_direction ON public.messages USING btree (org_id, direction, id);

CREATE INDEX messages_queued ON public.messages USING btree (org_id, sim_key, rank, id) WHERE ((status = 'queued'::text) AND (not_before IS NULL));

CREATE INDEX messages_queued_by_key ON public.messages USING btree (org_id, sim_key, key_id, rank, id) WHERE ((status = 'queued'::text) AND (not_before IS NULL) AND (key_id IS NOT NULL));

CREATE INDEX messages_sending ON public.messages USING btree (org_id, handed_at) WHERE (status = 'sending'::text);

CREATE INDEX messages_sim ON public.messages USING btree (org_id, sim_digits, id) WHERE (sim_digits IS NOT NULL);

CREATE INDEX messages_timed ON public.messages USING btree (org_id, COALESCE(not_before, expires_at)) WHERE ((status = 'queued'::text) AND ((not_before IS NOT NULL) OR (expires_at IS NOT NULL)));

CREATE INDEX opt_out_answers_owed ON public.opt_out_answers USING btree (org_id) WHERE (NOT answered);

CREATE INDEX org_limits_queue_ttl ON public.org_limits USING btree (org_id) WHERE (queue_ttl > 0);

CREATE INDEX sessions_node ON public.sessions USING btree (node_id);

CREATE INDEX sim_uses_message ON public.sim_uses USING btree (org_id, message_id);

CREATE INDEX sims_slot ON public.sims USING btree (org_id, slot);

CREATE TRIGGER note_end BEFORE UPDATE OF status ON public.messages FOR EACH ROW WHEN (((new.status = ANY (ARRAY['failed'::text, 'cancelled'::text, 'expired'::text])) AND (old.status <> new.status))) EXECUTE FUNCTION public.note_end();

ALTER TABLE ONLY public.api_key_spending
    ADD CONSTRAINT api_key_spending_org_id_key_id_fkey FOREIGN KEY (org_id, key_id) REFERENCES public.api_keys(org_id, key_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.auth_failures
    ADD CONSTRAINT auth_failures_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.call_keys
    ADD CONSTRAINT call_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.hooks
    ADD CONSTRAINT hooks_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.known_addresses
    ADD CONSTRAINT known_addresses_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.opt_out_answers
    ADD CONSTRAINT opt_out_answers_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.opt_outs
    ADD CONSTRAINT opt_outs_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.org_limits
    ADD CONSTRAINT org_limits_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.org_locks
    ADD CONSTRAINT org_locks_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sim_uses
    ADD CONSTRAINT sim_uses_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sims
    ADD CONSTRAINT sims_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(org_id) ON DELETE CASCADE;
