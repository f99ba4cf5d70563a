"""The programs that carry a whole database about: pg_dump, pg_restore and psql, and how they run.

Found where servers are (`smsd.store.binaries`), but also where there is no server beside them.
What they are made to do is in `smsd.store.dumps`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet.defer import CancelledError

from smsd.store.account import account_of, environment
from smsd.store.binaries import places
from smsd.store.child import Child, spawn
from smsd.store.unusable import PostgresUnusable

PROGRAMS = ("pg_dump", "pg_restore", "psql")

_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_COMPLAINT = re.compile(r"\b(?:error|ERROR|FATAL|PANIC|cannot run)\b")


@dataclass(frozen=True, slots=True)
class Clients:
    """A ``bin`` directory with all of `PROGRAMS`, and their version."""

    directory: Path
    version: str
    major: int

    def path(self, program: str) -> str:
        return str(self.directory / program)


@dataclass(frozen=True, slots=True)
class Access:
    """How a program is told to connect: its password is in no argument, where ``ps`` shows it."""

    dsn: str
    environ: Mapping[str, str]


def access(conninfo: str) -> Access:
    """The same connection as libpq makes of ``conninfo`` in this process."""
    words = parse_dsn(conninfo)
    if "sslpassword" in words:
        raise PostgresUnusable(
            "The programs of Postgres can be given no sslpassword without showing it to everybody:"
            " use a key without one (ssl-key files are closed to others anyway)."
        )
    ours = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("PG")}
    if password := words.pop("password", None):
        ours["PGPASSWORD"] = password
    return Access(make_dsn(**words), {**environment(), **ours})


def fitting(
    major: int, configured: Path | None = None, *, among: Iterable[Path] | None = None
) -> Clients:
    """Those of a server's major version, else the next newer ones; an older pg_dump does not
    read a newer server. Raises `PostgresUnusable` where there are none."""
    found = list(_found(configured, among))
    able = sorted((each for each in found if each.major >= major), key=lambda each: each.major)
    if able:
        return able[0]
    raise PostgresUnusable(_none_for(major, found))


def newest(configured: Path | None = None) -> Clients:
    """The newest of all, which reads every dump that any of them has made."""
    found = sorted(_found(configured, None), key=lambda each: each.major)
    if found:
        return found[-1]
    raise PostgresUnusable(_none_for(None, found))


def _none_for(major: int | None, found: Sequence[Clients]) -> str:
    package = f"postgresql-client-{major}" if major else "postgresql-client"
    way = f"install {package} and name its bin directory (setting postgres_bin)."
    if not found:
        return f"No {', '.join(PROGRAMS)} found: {way}"
    best = max(found, key=lambda each: each.major)
    return (
        f"The server is PostgreSQL {major}, and the pg_dump in {best.directory} is of"
        f" {best.version}, which is too old for it: {way}"
    )


def _found(configured: Path | None, among: Iterable[Path] | None) -> Iterator[Clients]:
    seen = set()
    for directory in _everywhere(configured) if among is None else among:
        if directory not in seen and (clients := _tried(directory)):
            yield clients
        seen.add(directory)


def _everywhere(configured: Path | None) -> Iterator[Path]:
    if configured:
        yield from (configured / "bin", configured)
    yield from places()
    if program := shutil.which("pg_dump"):
        yield Path(program).resolve().parent


def _tried(directory: Path) -> Clients | None:
    if not all((directory / program).exists() for program in PROGRAMS):
        return None
    try:
        ran = account_of(os.geteuid()).run([str(directory / "pg_dump"), "--version"])
    except OSError:
        return None
    version = _VERSION.search(ran.stdout)
    return Clients(directory, version[1], int(version[2])) if version else None


class Running:
    """One run of one program, as ourselves; ends when it is given up."""

    def __init__(
        self,
        reactor: Any,
        argv: Sequence[str],
        *,
        files: Mapping[int, int] = {},
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> None:
        """``files`` are its file descriptors beside stderr, by what they are here; without one
        its standard input is ``stdin``, and what it writes to its standard output is `said`."""
        self.said = b""
        self._program = os.path.basename(argv[0])
        self._complaints: deque[str] = deque(maxlen=3)
        descriptors: dict[int, int | str] = {0: "w", 1: "r", **files, 2: "r"}
        self.child = spawn(
            reactor,
            account_of(os.geteuid()),
            argv,
            _Spoken(self, stdin),
            environ=environ,
            files=descriptors,
        )

    def hear(self, line: str) -> None:
        """Of what it says, only what it complains of: other lines quote what is stored."""
        if _COMPLAINT.search(line):
            self._complaints.append(line.strip())

    async def finish(self) -> None:
        """Wait for its end; raises `PostgresUnusable` with its own words where that is not good.
        Who waits no longer has ended it."""
        try:
            await self.child.ended()
        except CancelledError:
            await self.end()
            raise
        if not self.child.succeeded:
            raise self.failure()

    async def end(self) -> None:
        """Make it end, and wait for that."""
        self.child.interrupt()
        await self.child.ended()

    def failure(self) -> PostgresUnusable:
        """Why it did not do what it was for."""
        why = " / ".join(self._complaints) or self.child.status
        return PostgresUnusable(f"{self._program} failed: {why}")


class _Spoken(Child):
    """Keeps what comes by standard output."""

    def __init__(self, running: Running, stdin: bytes) -> None:
        super().__init__(running.hear, stdin)
        self._running = running

    def outReceived(self, data: bytes) -> None:
        self._running.said += data
