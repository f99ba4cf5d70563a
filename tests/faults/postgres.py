"""A Postgres that can be tormented: frozen, killed, filled up, made read-only, locked, healed.

Plain calls that return when it is done; to stop and to restart it are `faults.server`'s. What the
gateway makes of it is not here.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
from faults.disk import Disks, NoDisk
from faults.processes import send, title
from faults.server import Server

__all__ = ["NoDisk", "Postgres"]


class Postgres(Server):
    """A server below ``home`` that runs when this returns; see `Server`.

    ``cannot_fill`` says why this machine gives it no disk that can be filled, if so.
    """

    def __init__(self, home: Path, *, options: Mapping[str, str] = {}) -> None:
        self._hogs: list[Any] = []
        self._locks: list[Any] = []
        super().__init__(home, options=options)

    def heal(self) -> None:
        """Whatever was done to it, it serves again."""
        self.thaw()
        self.release_locks()
        self.release_connections()
        self.free_disk()
        self.start()
        self.read_only(False)

    def close(self) -> None:
        """Stop it and remove all that is its own."""
        self.release_locks()
        self.release_connections()
        super().close()

    # -- its processes --

    def freeze(self) -> None:
        """It neither answers nor goes away: SIGSTOP to all its processes."""
        for pid in self.family():  # the postmaster first, who then begets no more
            send(pid, signal.SIGSTOP)
        for pid in self.family():
            send(pid, signal.SIGSTOP)

    def backends(self) -> list[int]:
        """The processes that serve the gateway."""
        return [pid for pid in self.family() if b": smsd smsd " in title(pid)]

    def kill_backends(self, most: int | None = None, how: str = "terminate") -> int:
        """So many of the gateway's, all by default; how many it were.

        ``terminate`` ends these; ``kill`` makes Postgres end all others too, and recover.
        """
        number = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}[how]
        chosen = self.backends()[:most]
        for pid in chosen:
            send(pid, number)
        return len(chosen)

    # -- its disks --

    def fill_disk(self, which: str = "tables") -> None:
        """Leave no room for ``tables`` (statements fail) or for the ``wal`` (the server panics, and
        ends when it cannot recover either). Raises `NoDisk` where there is none to fill."""
        disks = self._has_disks()
        if which == "wal":
            self.ask("SELECT pg_create_physical_replication_slot('keeps_it_all', true)")
            disks.fill(disks.wal)
            self._use_up_wal()
        else:
            disks.fill(disks.tables)

    def free_disk(self) -> None:
        """And start it again where it has ended for want of room."""
        if self.disks is None:
            return
        for disk in (self.disks.tables, self.disks.wal):
            self.disks.free(disk)
        self.start()
        self.ask("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")

    def _has_disks(self) -> Disks:
        if self.disks is None:
            raise NoDisk(self.cannot_fill)
        return self.disks

    def _use_up_wal(self) -> None:
        """What was set aside for it before the disk was full."""
        with suppress(psycopg2.OperationalError):
            while True:
                self.ask("CREATE TABLE waste (); DROP TABLE waste; SELECT pg_switch_wal()")

    # -- what it grants --

    def read_only(self, wanted: bool) -> None:
        """As a stand-by is, or a provider makes it when the bill is due."""
        self.ask(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if wanted else 'off'}")
        self.ask("SELECT pg_reload_conf()")

    def use_up_connections(self) -> None:
        """Take every place that ``smsd`` could have, those that the gateway has included."""
        self.ask("ALTER ROLE smsd CONNECTION LIMIT 0")  # or it would be back before we are there
        self.until(self._hogged, "be used up")
        self.ask("ALTER ROLE smsd CONNECTION LIMIT -1")

    def release_connections(self) -> None:
        _close(self._hogs)

    def _hogged(self) -> bool:
        before = len(self._hogs)
        try:
            while True:
                self._hogs.append(self.connect("hog"))
        except psycopg2.OperationalError:  # no more for now; what the gateway has goes next
            return self.kill_backends() == 0 and len(self._hogs) == before

    def hold_lock(self, sql: str = "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE") -> None:
        """Do this in a transaction that stays open until `release_locks`."""
        holder = self.connect()
        holder.autocommit = False
        with holder.cursor() as cursor:
            cursor.execute(sql)
        self._locks.append(holder)

    def release_locks(self) -> None:
        _close(self._locks)


def _close(connections: list[Any]) -> None:
    while connections:
        connections.pop().close()
