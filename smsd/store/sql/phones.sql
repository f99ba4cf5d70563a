-- begin_sessions (prepared) --
-- Phones that have come on line here.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (org_id text, session_id uuid, phone_id text)
), heard AS MATERIALIZED (
    @listening_of given
), begun AS (
    INSERT INTO sessions AS s (org_id, session_id, phone_id, node_id)
    SELECT org_id, session_id, phone_id, %(node_id)s
    FROM given
    WHERE (SELECT count(*) FROM heard) >= 0
    ON CONFLICT (org_id, session_id) DO NOTHING
    RETURNING s.*
), told AS (
    @tell_of_phones phone.online begun
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT session_id FROM begun

-- report_sims --
-- What a phone says it holds replaces what it said before, and is remembered for its org.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (
        org_id text, session_id uuid, phone_id text, sims jsonb
    )
), heard AS MATERIALIZED (
    @listening_of given
), on_line AS (
    UPDATE sessions AS s
    SET sims = g.sims, phone_id = g.phone_id
    FROM given AS g
    WHERE s.org_id = g.org_id AND s.session_id = g.session_id
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING s.*
), reported AS (
    SELECT DISTINCT ON (g.org_id, r.sim_key)
        g.org_id, r.sim_key, r.slot, r.number, r.label, r.carrier, r.pace
    FROM given AS g CROSS JOIN LATERAL jsonb_to_recordset(g.sims) AS r (
        sim_key text, slot smallint, number text, label text, carrier text, pace json
    )
    ORDER BY g.org_id, r.sim_key
), remembered AS (
    INSERT INTO sims (org_id, sim_key, slot, number, label, carrier, last_seen)
    SELECT org_id, sim_key, slot, number, label, carrier, now() FROM reported
    ORDER BY org_id, sim_key
    ON CONFLICT (org_id, sim_key) DO UPDATE
    SET slot = EXCLUDED.slot, number = EXCLUDED.number, label = EXCLUDED.label,
        carrier = EXCLUDED.carrier, last_seen = EXCLUDED.last_seen
), paced AS (
    -- Until a phone of this org has said what its SIMs may, it is not given what is for any SIM.
    INSERT INTO org_limits AS l (org_id, phones_pace)
    SELECT DISTINCT org_id, true FROM reported WHERE pace IS NOT NULL ORDER BY org_id
    ON CONFLICT (org_id) DO UPDATE SET phones_pace = true
    WHERE NOT l.phones_pace
), told AS (
    @tell_of_phones sims.changed on_line
    WHERE s.sims IS DISTINCT FROM (
        -- As it was when this statement began.
        SELECT b.sims FROM sessions AS b
        WHERE b.org_id = s.org_id AND b.session_id = s.session_id
    )
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT session_id FROM on_line

-- end_sessions --
-- Phones that have gone.
WITH given AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(rows)s::json) AS g (org_id text, session_id uuid)
), heard AS MATERIALIZED (
    @listening_of given
), ended AS (
    DELETE FROM sessions AS s
    USING given AS g
    WHERE s.org_id = g.org_id AND s.session_id = g.session_id
        AND (SELECT count(*) FROM heard) >= 0
    RETURNING s.*
), told AS (
    @tell_of_phones phone.offline ended
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT session_id FROM ended

-- read_sims --
-- GET /sims: the answer's JSON is made here and passed through untouched. SIMs of phones on line,
-- on every node that is alive, first connected first; and every SIM that the org ever reported.
-- Of SIMs that may be paced, so that what they have left can be told: their key, and their phone's
-- word.
SELECT concat(
    '{"online_devices":', (
        SELECT count(*)
        FROM sessions AS s JOIN nodes AS n USING (node_id)
        WHERE s.org_id = %(org_id)s
            AND n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s)
    ),
    ',"live_sims":', coalesce((
        SELECT json_agg(
            CASE WHEN r.pace IS NULL AND NOT %(paced)s THEN json_build_object(
                'slot', r.slot, 'number', r.number, 'label', r.label, 'carrier', r.carrier)
            ELSE json_build_object(
                'slot', r.slot, 'number', r.number, 'label', r.label, 'carrier', r.carrier,
                'sim_key', r.sim_key, 'said', r.pace)
            END
            ORDER BY s.connected_at, s.session_id, r.slot)
        FROM sessions AS s
        JOIN nodes AS n USING (node_id)
        CROSS JOIN LATERAL jsonb_to_recordset(s.sims) AS r (
            sim_key text, slot smallint, number text, label text, carrier text, pace json)
        WHERE s.org_id = %(org_id)s
            AND n.seen_at > clock_timestamp() - make_interval(secs => %(node_timeout)s)
    ), '[]'),
    ',"known_sims":', coalesce((
        SELECT json_agg(json_build_object(
            'slot', k.slot, 'number', k.number, 'label', k.label, 'carrier', k.carrier,
            'last_seen', k.last_seen)
            ORDER BY k.last_seen DESC, k.slot)
        FROM sims AS k
        WHERE k.org_id = %(org_id)s
    ), '[]'),
    '}')

-- beat --
-- This node is alive; born says that nobody knew it, or that others held it for dead.
INSERT INTO nodes (node_id, seen_at) VALUES (%(node_id)s, clock_timestamp())
ON CONFLICT (node_id) DO UPDATE SET seen_at = EXCLUDED.seen_at
RETURNING xmax = 0 AS born

-- leave --
-- This node has gone, and its sessions with it.
WITH gone AS (
    DELETE FROM nodes WHERE node_id = %(node_id)s RETURNING node_id
), heard AS MATERIALIZED (
    SELECT c.org_id, c.last_event
    FROM org_counters AS c
    WHERE c.org_id = ANY (ARRAY(
            SELECT s.org_id FROM sessions AS s
            WHERE s.node_id = %(node_id)s AND (SELECT count(*) FROM gone) >= 0
        ))
        AND c.listens_until > clock_timestamp()
    ORDER BY c.org_id
    FOR UPDATE
), ended AS (
    DELETE FROM sessions AS s
    WHERE s.node_id = %(node_id)s AND (SELECT count(*) FROM heard) >= 0
    RETURNING s.*
), told AS (
    @tell_of_phones phone.offline ended
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT DISTINCT org_id FROM ended

-- sweep_nodes_everywhere --
-- Nodes that have not been heard for so long are dead; their sessions go with them.
WITH dead AS (
    DELETE FROM nodes
    WHERE seen_at < clock_timestamp() - make_interval(secs => %(timeout)s)
    RETURNING node_id
), heard AS MATERIALIZED (
    SELECT c.org_id, c.last_event
    FROM org_counters AS c
    WHERE c.org_id = ANY (ARRAY(
            SELECT s.org_id FROM sessions AS s JOIN dead USING (node_id)
        ))
        AND c.listens_until > clock_timestamp()
    ORDER BY c.org_id
    FOR UPDATE
), ended AS (
    DELETE FROM sessions AS s
    USING dead
    WHERE s.node_id = dead.node_id AND (SELECT count(*) FROM heard) >= 0
    RETURNING s.*
), told AS (
    @tell_of_phones phone.offline ended
    RETURNING org_id, id
), told_upto AS (
    @count_told
)
SELECT node_id FROM dead
