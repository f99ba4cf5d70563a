-- When a ticket ended without having been sent; and what STOP may stand between.

ALTER TABLE messages
    ADD COLUMN ended_at timestamptz;  -- when it last became failed, cancelled or expired

CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ended_at := clock_timestamp();
    RETURN NEW;
END
$$;

-- A trigger, for a dozen statements end tickets: those that send them do not call it.
CREATE TRIGGER note_end BEFORE UPDATE OF status ON messages
FOR EACH ROW
WHEN (NEW.status IN ('failed', 'cancelled', 'expired') AND OLD.status <> NEW.status)
EXECUTE FUNCTION note_end();

CREATE OR REPLACE FUNCTION heed(
    org text, id bigint, address text, key text,
    slot smallint, number text, digits text, body text
) RETURNS boolean LANGUAGE plpgsql AS $$
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
