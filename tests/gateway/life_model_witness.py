"""The model's witness: another connection, which sees what is committed and nothing else, and
every change of a ticket that ever was, for a trigger writes them down."""

from __future__ import annotations

from typing import NamedTuple

from life_model_postgres import Server


class Row(NamedTuple):
    """A ticket as it is committed, or as it became at one change."""

    org_id: str
    id: int
    status: str
    attempts: int
    session_id: str | None
    ref: str
    body: str
    sim_key: str
    error: str | None


_COLUMNS = "org_id, id, status, attempts, session_id::text, ref, body, sim_key, error"
_WATCH = """
CREATE TABLE seen (
    seq bigserial, was text, org_id text, id bigint, status text, attempts integer,
    session_id uuid, ref text, body text, sim_key text, error text
);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO seen (was, org_id, id) VALUES (OLD.status, OLD.org_id, OLD.id);
        RETURN OLD;
    END IF;
    INSERT INTO seen (
        was, org_id, id, status, attempts, session_id, ref, body, sim_key, error
    ) VALUES (
        CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.org_id, NEW.id, NEW.status,
        NEW.attempts, NEW.session_id, NEW.ref, NEW.body, NEW.sim_key, NEW.error
    );
    RETURN NEW;
END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON messages
    FOR EACH ROW EXECUTE FUNCTION see();
"""


class Witness:
    """Sees what is committed through ``watched``, from outside."""

    def __init__(self, conninfo: str, watched: Server) -> None:
        self.server, self._watched = Server(conninfo), watched
        self.server.ask(_WATCH)
        self._last = 0
        self._looked = -1

    def changes(self) -> list[tuple[str | None, Row]]:
        """What has changed since the last look, in order: the status before, and the row."""
        if self._looked == self._watched.count:
            return []
        self._looked = self._watched.count
        found = self.server.ask(
            f"SELECT seq, was, {_COLUMNS} FROM seen WHERE seq > %s ORDER BY seq", [self._last]
        )
        if found:
            self._last = found[-1][0]
        return [(was, Row(*row)) for _, was, *row in found]

    def sessions(self, node_id: str) -> set[str]:
        """The sessions that the table knows of a node."""
        found = self.server.ask(
            "SELECT session_id::text FROM sessions WHERE node_id = %s", [node_id]
        )
        return {session_id for (session_id,) in found}

    def pass_time(self, seconds: float) -> None:
        """For the database's clock cannot be moved, what it wrote down is moved back."""
        self.server.ask(
            "SET session_replication_role = replica;"  # the witness does not see itself
            "UPDATE messages SET handed_at = handed_at - make_interval(secs => %(by)s)"
            " WHERE status = 'sending';"
            "RESET session_replication_role;"
            "UPDATE nodes SET seen_at = seen_at - make_interval(secs => %(by)s)",
            {"by": seconds},
        )

    def begin(self, org_ids: list[str]) -> None:
        """Nothing but these orgs."""
        self.server.ask(
            "DELETE FROM messages; DELETE FROM sessions; DELETE FROM nodes; DELETE FROM sims;"
            "DELETE FROM batches;"
            "DELETE FROM orgs; DELETE FROM org_counters; TRUNCATE seen;"
            "INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)"
            " SELECT unnest(%(orgs)s), '', '', '';"
            "INSERT INTO org_counters (org_id) SELECT unnest(%(orgs)s)",
            {"orgs": org_ids},
        )
