-- append_messages (prepared) --
-- Store messages of many orgs at once. Ids are handed out under each org's counter lock, taken in
-- org order, so that ids appear in commit order and two nodes cannot deadlock. A message whose
-- dedupe key is stored already is skipped and counts as stored. The batch notes (ord, id) of each
-- org's first message, which the org's others follow. Tickets of a call whose key is taken are not
-- stored, and their ids are given to nobody. Where an org keeps to it, an SMS that says STOP is
-- acted upon here, so that nothing can lose it, and a ticket to a number that has opted out is
-- stored as failed: then its id is answered below zero.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (
        ord integer, org_id text, status text, direction text, address text, address_key text,
        body text, sim_slot smallint, sim_number text, sim_digits text, ask_sims boolean,
        device_ts bigint, dedupe text, sim_asked text, sim_key text, ref text,
        attempts integer, session_id uuid, phone_id text, ledger boolean,
        call_key text, fingerprint text, key_id text,
        rank smallint, send_at bigint, expires_at bigint, ttl integer,
        receipt boolean, answers bigint
    )
), counters AS MATERIALIZED (
    -- A counter outlives its org: that it is there does not say that the org is.
    -- An event has the number of its message, moved by the lead that events have.
    SELECT c.org_id, c.last_id, c.last_event - c.last_id AS lead,
        coalesce(c.listens_until > clock_timestamp(), false) AS listens,
        c.opt_out_scope AS scope
    FROM org_counters AS c JOIN orgs AS o USING (org_id)
    WHERE c.org_id = ANY (ARRAY(SELECT DISTINCT org_id FROM given))
    ORDER BY c.org_id
    FOR UPDATE OF c
), numbered AS MATERIALIZED (
    SELECT g.*, c.last_id + row_number() OVER (PARTITION BY g.org_id ORDER BY g.ord) AS id,
        c.lead, c.listens,
        -- Of one whose SIM is not chosen yet, whoever claims it will know.
        CASE WHEN c.scope IS NULL OR g.direction = 'in' OR g.answers IS NOT NULL THEN false
        WHEN c.scope = 'sim' AND g.status = 'queued' AND g.sim_digits IS NULL THEN false
        ELSE has_opted_out(g.org_id, g.address_key, g.sim_digits, c.scope)
        END AS refused
    FROM given AS g JOIN counters AS c USING (org_id)
), counted AS (
    UPDATE org_counters AS c
    SET last_id = n.last_id,
        last_event = CASE WHEN n.listens THEN n.last_id + n.lead ELSE c.last_event END
    FROM (
        SELECT org_id, listens, lead, max(id) AS last_id, min(ord) AS ord, min(id) AS id
        FROM numbered
        GROUP BY org_id, listens, lead
    ) AS n
    WHERE c.org_id = n.org_id
    RETURNING n.ord, n.id
), keyed AS (
    INSERT INTO call_keys AS k (org_id, key, fingerprint, first_id, tickets)
    SELECT n.org_id, n.call_key, decode(min(n.fingerprint), 'hex'), min(n.id), count(*)
    FROM numbered AS n
    WHERE n.call_key IS NOT NULL
    GROUP BY n.org_id, n.call_key
    ON CONFLICT (org_id, key) DO NOTHING
    RETURNING k.org_id, k.key
), stored AS (
    INSERT INTO messages AS m (
        org_id, id, status, direction, address, address_key, body,
        sim_slot, sim_number, sim_digits, device_ts, dedupe,
        sim_asked, sim_key, ref, attempts, session_id, phone_id, ledger, handed_at, key_id,
        rank, send_at, not_before, expires_at, receipt, answers, error, error_detail
    )
    SELECT
        n.org_id, n.id, CASE WHEN n.refused THEN 'failed' ELSE n.status END, n.direction, n.address, n.address_key, n.body,
        n.sim_slot,
        coalesce(n.sim_number, s.number),
        coalesce(n.sim_digits, s.sim_digits),
        n.device_ts, decode(n.dedupe, 'hex'),
        n.sim_asked, n.sim_key, n.ref,
        CASE WHEN n.refused THEN 0 ELSE coalesce(n.attempts, 0) END,
        CASE WHEN NOT n.refused THEN n.session_id END,
        CASE WHEN NOT n.refused THEN n.phone_id END,
        coalesce(n.ledger, false),
        CASE WHEN n.status = 'sending' AND NOT n.refused THEN clock_timestamp() END, n.key_id,
        coalesce(n.rank, 0),
        to_timestamp(n.send_at / 1000.0), to_timestamp(n.send_at / 1000.0),
        CASE WHEN n.ttl IS NULL THEN to_timestamp(n.expires_at / 1000.0)
            ELSE greatest(clock_timestamp(), to_timestamp(n.send_at / 1000.0))
                + make_interval(secs => n.ttl) END,
        n.receipt, n.answers,
        CASE WHEN n.refused THEN 'opted_out' END,
        CASE WHEN n.refused
            THEN 'This number has opted out of SMS of this org, or the org has opted it out.' END
    FROM numbered AS n
    LEFT JOIN LATERAL (
        -- The org's SIM of that slot, if there is exactly one.
        SELECT min(k.number) AS number, min(k.sim_key) AS sim_digits
        FROM sims AS k
        WHERE n.ask_sims AND k.org_id = n.org_id AND k.slot = n.sim_slot
        HAVING count(*) = 1 AND min(k.number) IS NOT NULL
    ) AS s ON true
    WHERE n.call_key IS NULL OR (n.org_id, n.call_key) IN (SELECT org_id, key FROM keyed)
    ORDER BY n.ord
    ON CONFLICT (org_id, dedupe) WHERE dedupe IS NOT NULL DO NOTHING
    RETURNING m.*
), told AS (
    INSERT INTO events (
        org_id, id, type, message_id, direction, address_key, sim_slot, sim_digits, data
    )
    SELECT m.org_id, m.id + c.lead,
        CASE m.direction WHEN 'in' THEN 'message.received' ELSE 'ticket.' || m.status END,
        m.id, m.direction, m.address_key, m.sim_slot, m.sim_digits,
        shown_message(row_to_json(m))
    FROM counters AS c JOIN stored AS m USING (org_id)
    WHERE c.listens
    ORDER BY m.org_id, m.id
), heeded AS MATERIALIZED (
    -- What was stored only: an SMS that is handed in twice has its say once.
    SELECT heed(
        m.org_id, m.id, m.address, m.address_key,
        m.sim_slot, m.sim_number, m.sim_digits, m.body)
    FROM stored AS m
    WHERE (SELECT count(scope) FROM counters) > 0
        AND m.direction = 'in' AND m.address_key <> ''
), noted AS (
    INSERT INTO batches (batch_id, ids)
    SELECT %(batch_id)s::uuid, array_agg(ARRAY[ord, id]) FROM counted
    HAVING count(*) > 0
)
SELECT n.ord, CASE WHEN n.refused THEN -n.id ELSE n.id END
FROM numbered AS n
WHERE (SELECT count(*) FROM heeded) >= 0
    AND (n.call_key IS NULL OR (n.org_id, n.call_key) IN (SELECT org_id, key FROM keyed))

-- settle_results (prepared) --
-- Write down what phones say became of tickets. Rows are locked in order first, so that two
-- batches cannot deadlock, and each is found by its key: of a join the planner may think, as long
-- as it knows nothing of the table, that it pays to read all tickets. Only a ticket has attempts.
-- Of several results of one ticket the first that may be written counts, but a success before a
-- failure.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (
        ord integer, org_id text, id bigint, status text, error text, error_detail text,
        sent_at bigint, ref text, sim_slot smallint, sim_number text, sim_digits text
    )
), heard AS MATERIALIZED (
    @listening_of given
), held AS MATERIALIZED (
    SELECT m.*
    FROM (
        SELECT DISTINCT org_id, id
        FROM given
        WHERE (SELECT count(*) FROM heard) >= 0
        ORDER BY org_id, id
    ) AS g
    CROSS JOIN LATERAL (
        SELECT m.org_id, m.id, m.status, m.ref, m.expires_at
        FROM messages AS m
        WHERE m.org_id = g.org_id AND m.id = g.id AND m.attempts >= 1
        FOR UPDATE
    ) AS m
), telling AS MATERIALIZED (
    SELECT DISTINCT ON (g.org_id, g.id) g.*,
        -- In a phone's words: its time was over when it had its turn.
        coalesce(g.error_detail = 'expired' AND h.expires_at IS NOT NULL, false) AS lapsed
    FROM given AS g JOIN held AS h USING (org_id, id)
    WHERE (g.ref IS NULL OR g.ref = h.ref)
        AND (h.status IN ('queued', 'sending')
            OR (h.status IN ('failed', 'expired', 'cancelled') AND g.status = 'sent'))
    ORDER BY g.org_id, g.id, g.status = 'sent' DESC, g.ord
), settled AS (
    UPDATE messages AS m
    SET status = CASE WHEN t.lapsed THEN 'expired' ELSE t.status END,
        error = CASE WHEN NOT t.lapsed THEN t.error END,
        error_detail = CASE WHEN NOT t.lapsed THEN t.error_detail END,
        sent_at = CASE t.status WHEN 'sent' THEN
            coalesce(to_timestamp(t.sent_at / 1000.0), clock_timestamp()) END,
        -- Which SIM took it may not have been known when the phone was given it.
        sim_slot = coalesce(m.sim_slot, t.sim_slot),
        sim_number = coalesce(m.sim_number, t.sim_number),
        sim_digits = coalesce(m.sim_digits, t.sim_digits)
    FROM telling AS t
    WHERE m.org_id = t.org_id AND m.id = t.id
    RETURNING m.*
), told AS (
    @tell_of_tickets settled
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT g.ord,
    CASE WHEN t.ord IS NOT NULL THEN 'settled'
         WHEN h.id IS NULL THEN 'unknown'
         WHEN g.ref <> h.ref THEN 'ignored'
         ELSE 'repeated' END
FROM given AS g
LEFT JOIN held AS h USING (org_id, id)
LEFT JOIN telling AS t USING (ord)

-- claim_tickets (prepared) --
-- Give waiting tickets to a session, from the queues that it serves: the oldest of the highest
-- priority, but none whose time is over, which `pass_times_everywhere` ends; one to a number that
-- has opted out meanwhile ends here. Keys go into arrays, for of a join the planner may think that
-- it pays to read all that wait; and the org is one of them, for as long as it knows nothing of
-- the table it may think the same of the org.
WITH serves AS (
    SELECT *
    FROM json_to_recordset(%(serves)s::json) AS s (
        sim_key text, sim_slot smallint, sim_number text, sim_digits text
    )
), heard AS MATERIALIZED (
    @listening_one
), opting AS MATERIALIZED (
    @scope_one
), free AS MATERIALIZED (
    SELECT w.org_id, w.id, w.refused
    FROM serves AS s LEFT JOIN opting AS k ON true CROSS JOIN LATERAL (
        SELECT m.org_id, m.rank, m.id,
            @opted_out m s.sim_digits k.scope
            AS refused
        FROM messages AS m
        WHERE m.org_id = %(org_id)s AND m.sim_key = s.sim_key
            AND m.status = 'queued' AND m.not_before IS NULL
            AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
        ORDER BY m.rank, m.id
        LIMIT %(places)s
        FOR UPDATE SKIP LOCKED
    ) AS w
    WHERE (SELECT count(*) FROM heard) >= 0
    ORDER BY w.rank, w.id
    LIMIT %(places)s
), claimed AS (
    @claim_free
), told AS (
    @tell_of_tickets claimed
    RETURNING org_id, id
), told_upto AS (
    @count_told
), noted AS (
    INSERT INTO batches (batch_id, ids)
    SELECT %(batch_id)s::uuid, array_agg(id) FROM claimed
    HAVING count(*) > 0
)
SELECT id, status, address, body, sim_asked, ref, attempts,
    (extract(epoch FROM expires_at) * 1000)::bigint, receipt IS TRUE
FROM claimed
ORDER BY rank, id

-- read_handed --
-- What a session was given whose claim had its answer lost, as it is by now.
SELECT id, status, address, body, sim_asked, ref, attempts,
    (extract(epoch FROM expires_at) * 1000)::bigint, receipt IS TRUE
FROM messages
WHERE org_id = %(org_id)s AND id = ANY (%(ids)s::bigint[]) AND session_id = %(session_id)s::uuid
ORDER BY rank, id

-- end_pushes --
-- What is known of a session's unanswered pushes, written down when the session ends: those that
-- never reached the transport go back to the queue, the others keep what is known of them. Of one
-- that was pushed again and did not get that far, an earlier push is still in doubt. What was
-- written down already (its answer was lost) is not counted again: then pushed_at is there.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (
        org_id text, id bigint, session_id uuid, phone_id text, pushed bigint, received bigint
    )
), heard AS MATERIALIZED (
    @listening_of given
), held AS MATERIALIZED (
    SELECT m.org_id, m.id
    FROM messages AS m JOIN given AS g USING (org_id, id)
    WHERE m.status = 'sending' AND m.session_id = g.session_id AND m.pushed_at IS NULL
        AND (SELECT count(*) FROM heard) >= 0
    ORDER BY m.org_id, m.id
    FOR UPDATE OF m
), ended AS (
    UPDATE messages AS m
    SET status = CASE WHEN g.pushed IS NULL AND m.attempts = 1 THEN 'queued' ELSE 'sending' END,
        attempts = m.attempts - CASE WHEN g.pushed IS NULL THEN 1 ELSE 0 END,
        handed_at = CASE WHEN g.pushed IS NOT NULL OR m.attempts > 1 THEN m.handed_at END,
        phone_id = g.phone_id,
        receipted = m.receipted + CASE WHEN g.received IS NULL THEN 0 ELSE 1 END,
        pushed_at = CASE
            WHEN g.pushed IS NOT NULL THEN to_timestamp(g.pushed / 1000.0)
            WHEN m.attempts > 1 THEN clock_timestamp()
        END,
        received_at = to_timestamp(g.received / 1000.0)
    FROM given AS g JOIN held AS h USING (org_id, id)
    WHERE m.org_id = h.org_id AND m.id = h.id
    RETURNING m.*
), told AS (
    @tell_of_tickets ended
    WHERE m.status = 'queued'
    RETURNING org_id, id
), told_upto AS (
    @count_told
), given_back AS (
    -- Its SIM has not sent it. One that waits again was never claimed more than once.
    DELETE FROM sim_uses AS u
    USING ended AS m
    WHERE u.org_id = m.org_id AND u.message_id = m.id AND m.status = 'queued'
)
SELECT org_id, id, status, sim_key FROM ended
UNION ALL
SELECT m.org_id, m.id, m.status, m.sim_key
FROM messages AS m JOIN given AS g USING (org_id, id)
WHERE m.status = 'queued' AND m.session_id = g.session_id

-- fail_unconfirmed_everywhere --
-- Tickets that a phone took and never confirmed end, so that nothing is ever stuck. What somebody
-- holds is left for the next time.
WITH late AS MATERIALIZED (
    @unconfirmed
), heard AS MATERIALIZED (
    @listening_of late
), held AS MATERIALIZED (
    SELECT m.org_id, m.id
    FROM late AS l CROSS JOIN LATERAL (
        SELECT m.org_id, m.id
        FROM messages AS m
        WHERE m.org_id = l.org_id AND m.id = l.id AND m.status = 'sending'
            AND m.handed_at < clock_timestamp() - make_interval(secs => %(timeout)s)
        FOR UPDATE SKIP LOCKED
    ) AS m
    WHERE (SELECT count(*) FROM heard) >= 0
), failed AS (
    UPDATE messages AS m
    SET status = 'failed', error = 'unconfirmed', error_detail = %(detail)s
    FROM held AS h
    WHERE m.org_id = h.org_id AND m.id = h.id
    RETURNING m.*
), told AS (
    @tell_of_tickets failed
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT org_id, id FROM failed

-- waiting_orgs --
-- Which of these orgs have tickets waiting: the slow poll behind every wake-up.
SELECT o.org_id
FROM unnest(%(org_ids)s::text[]) AS o (org_id)
WHERE EXISTS (
    SELECT 1 FROM messages AS m
    WHERE m.org_id = o.org_id AND m.status = 'queued' AND m.not_before IS NULL
)

-- read_messages --
-- GET /messages: the answer's JSON is made here and passed through untouched. The two orders and
-- the absent filters are literals to the planner, which folds them away.
WITH page AS (
    SELECT m.*
    FROM messages AS m
    WHERE m.org_id = %(org_id)s
        AND m.id > %(since_id)s
        AND (%(before_id)s::bigint IS NULL OR m.id < %(before_id)s::bigint)
        AND (%(direction)s::text IS NULL OR m.direction = %(direction)s::text)
        AND (%(status)s::text IS NULL OR m.status = %(status)s::text)
        AND (%(address_key)s::text IS NULL OR m.address_key = %(address_key)s::text)
        AND (%(sim_digits)s::text IS NULL OR m.sim_digits = %(sim_digits)s::text)
        AND (%(sim_slot)s::smallint IS NULL OR m.sim_slot = %(sim_slot)s::smallint)
    ORDER BY
        CASE WHEN %(newest_first)s THEN m.id END DESC,
        CASE WHEN NOT %(newest_first)s THEN m.id END
    LIMIT %(limit)s
)
SELECT concat(
    '{"org_id":', to_json(%(org_id)s::text),
    ',"count":', count(*),
    ',"messages":[', string_agg(
        CASE
        WHEN p.direction = 'in' THEN row_to_json(ROW(
            p.id, p.direction, p.address, p.body, p.sim_slot, p.sim_number, p.status,
            p.device_ts, p.created_at)::shown_inbound)
        WHEN p.rank = 0 AND p.send_at IS NULL AND p.expires_at IS NULL AND p.receipt IS NULL
        THEN row_to_json(ROW(
            p.id, p.direction, p.address, p.body, p.sim_slot, p.sim_number, p.status,
            p.device_ts, p.created_at, p.sent_at, p.attempts, p.error, p.error_detail
            )::shown_outbound)
        ELSE row_to_json(ROW(
            p.id, p.direction, p.address, p.body, p.sim_slot, p.sim_number, p.status,
            p.device_ts, p.created_at, p.sent_at, p.attempts, p.error, p.error_detail,
            p.send_at, p.expires_at, -p.rank, p.receipt IS TRUE, p.delivered_at)::shown_timed)
        END::text, ','
        ORDER BY
            CASE WHEN %(newest_first)s THEN p.id END DESC,
            CASE WHEN NOT %(newest_first)s THEN p.id END
    ), ']}')
FROM page AS p
