"""Who else lives in a data directory: a Postgres that outlived its daemon, and what it left.

Only asked by whoever holds the directory's lock, so that nobody is surprised. Processes are
known by their command line, which every user may read (their working directory may not be read
even by root in a container).
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from smsd.store.unusable import PostgresUnusable

#: Seconds that a server may take to write down what it has in memory, after which it is to end
#: at once and to recover later. PostgreSQL 18.6 needs that: told to stop while it recovers from a
#: crash, it sometimes waits for ever for its own checkpointer, deaf to all but SIGQUIT.
GRACE = 10.0
#: Seconds until we give up on an orphan.
PATIENCE = 60.0
_GLANCE = 0.05


@dataclass(frozen=True, slots=True)
class Residents:
    """The processes of the cluster at ``data``."""

    data: Path

    @property
    def title(self) -> str:
        """What a server is to call its children (its ``cluster_name``), so that we know them."""
        return f"smsd-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]}"

    def postmasters(self) -> list[int]:
        """Servers that were started on our data directory."""
        return [pid for pid, argv in self._processes() if self._is_postmaster(argv)]

    def strays(self) -> list[int]:
        """Their children, which for a moment outlive a server that was killed."""
        title = f"postgres: {self.title}: ".encode()
        return [pid for pid, argv in self._processes() if argv[0].startswith(title)]

    async def leave(self, clock: Any, patience: float = PATIENCE) -> bool:
        """Stop them and wait until the last has gone; whether there was any."""
        found = self._told_to_go()
        began, hastened = clock.seconds(), False
        while remaining := self.postmasters() + self.strays():
            if not hastened and clock.seconds() > began + GRACE:
                hastened = self._told_to_go(signal.SIGQUIT)
            if clock.seconds() > began + patience:
                raise PostgresUnusable(
                    f"A Postgres of an earlier run (process {remaining[0]}) still uses"
                    f" {self.data} and does not stop: end it, then start again."
                )
            await deferLater(clock, _GLANCE)
        return found

    def _told_to_go(self, how: signal.Signals = signal.SIGINT) -> bool:
        """A server ends its children itself; without one they are told one by one."""
        servers = self.postmasters()
        strays = [] if servers else self.strays()
        for pid in servers:
            _signal(pid, how)
        for pid in strays:
            _signal(pid, signal.SIGTERM)
        return bool(servers or strays)

    def _is_postmaster(self, argv: list[bytes]) -> bool:
        if os.path.basename(argv[0]) != b"postgres" or b"-D" not in argv[:-1]:
            return False
        return argv[argv.index(b"-D") + 1] == os.fsencode(self.data)

    def _processes(self) -> Iterator[tuple[int, list[bytes]]]:
        """The data's owner's; others can call themselves what they like."""
        owner = self.data.stat().st_uid
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                argv = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                if entry.stat().st_uid == owner:
                    yield int(entry.name), argv
            except OSError:
                continue  # it has ended meanwhile


def clear_leftovers(data: Path, sockets: Path, port: int) -> None:
    """Remove the notes of a server that is no more.

    Postgres would believe a number in them that now belongs to another process (after a restart
    of a container it often does) and refuse to start.
    """
    socket = sockets / f".s.PGSQL.{port}"
    for left in (data / "postmaster.pid", socket, socket.with_name(f"{socket.name}.lock")):
        left.unlink(missing_ok=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
