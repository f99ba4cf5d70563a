-- What a number says of itself, acted upon; and whether it has. Functions, so that the statement that stores SMS does
-- not get slower for orgs that do not keep to STOP: for them they are not called.

CREATE FUNCTION heed(
    org text, id bigint, address text, key text,
    slot smallint, number text, digits text, body text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    said text := upper(btrim(body, E' \t\r\n'));
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

-- Volatile: it sees what was committed before the counter's lock was had, however long the statement
-- that asks had waited for that.
CREATE FUNCTION has_opted_out(org text, key text, digits text, scope text)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM opt_outs AS o
        WHERE o.org_id = org AND o.address_key = key
            AND (scope = 'org' OR o.sim_digits IN ('', coalesce(digits, o.sim_digits)))
    );
END
$$;
