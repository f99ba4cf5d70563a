"""A whole database as a file, and back: pg_dump's custom format.

What is loaded is loaded in one transaction, together with what makes a gateway of it: whoever is
killed half way leaves the database as it was. Whether a file may be loaded at all is asked by
`smsd.repair.restoring`; where files lie, and that none is overwritten, is its business too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError

from smsd.store.clients import Access, Clients, Running
from smsd.store.migrate import LOCK, migrations
from smsd.store.statements import named
from smsd.store.unusable import PostgresUnusable

#: Who was on line, and what was under way, is of no use to a later life.
_PASSING = ("nodes", "sessions", "batches")
_OURS = ("--no-owner", "--no-privileges", "--no-tablespaces", "--no-security-labels")
_APPLIED = re.compile(r"^(\d+)\t[^\t\n]*\t([0-9a-f]{64})\t", re.MULTILINE)
_COMMITTED = "smsd: committed"
_PSQL = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse")
_PATIENCE = ("SET LOCAL lock_timeout = '5s';",)
#: Starts a program whose standard output is this file.
Producing = Callable[[int], Running]

_COUNTERS = named("move_counters_everywhere")
_NOBODY_ON_LINE = named("forget_nodes_everywhere")
_FAIL_PENDING = named("fail_pending_everywhere")

_CREATED = re.compile(r"^CREATE (TABLE|FUNCTION|TYPE) (\w+)", re.MULTILINE)

#: Asked again where nobody can come between: a type error ends the transaction.
_STILL_EMPTY = rf"""
{named("use_everywhere").sql} \gset
SELECT :'alive'::boolean OR :'used'::boolean AS taken \gset
\if :taken
    SELECT 'somebody uses this database by now'::integer;
\endif
"""

#: For orgs that the backup does not know: made after it, lost, and claimed again by the same
#: callers, who remember their ids. The table's default is what a new counter begins with.
_FLOOR = """
SELECT coalesce(max(substring(pg_get_expr(d.adbin, d.adrelid) FROM '[0-9]+')::bigint), 0)
    + 1000000 AS floor
FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = 'org_counters'::regclass AND a.attname = 'last_id' \\gset
ALTER TABLE org_counters ALTER COLUMN last_id SET DEFAULT :floor;
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A database, and the programs that fit its server."""

    reactor: Any
    clients: Clients
    access: Access

    def run(self, program: str, *words: str, files: dict[int, int]) -> Running:
        """A program that connects to it."""
        argv = [self.clients.path(program), f"--dbname={self.access.dsn}", "--no-password", *words]
        return Running(self.reactor, argv, files=files, environ=self.access.environ)


async def dump(server: Server, file: int) -> None:
    """Write the database into an open file, as it is at this moment.

    By a name of the file, for pg_dump 18 only appends to its standard output, and leaves an
    archive without the places of its parts.
    """
    without = [f"--exclude-table-data={table}" for table in _PASSING]
    words = ["--format=custom", "--file=/proc/self/fd/1", *without]
    await server.run("pg_dump", *words, files={1: file}).finish()


async def versions(reactor: Any, clients: Clients, file: int) -> dict[int, str]:
    """The migrations that were applied to what an open dump holds: number and checksum. None
    where it is no gateway's. Raises `PostgresUnusable` where it cannot be read."""
    os.lseek(file, 0, os.SEEK_SET)
    reading = Running(
        reactor,
        [clients.path("pg_restore"), "--data-only", "--table=schema_migrations", "--file=-"],
        files={0: file},
    )
    await reading.finish()
    said = reading.said.decode("utf-8", "replace")
    return {int(version): sha256 for version, sha256 in _APPLIED.findall(said)}


async def restore(server: Server, file: int, *, made: bool, fail_pending: bool) -> None:
    """Load an open dump into a database that is empty, and make a gateway's of it.

    ``made``: the tables are there already. ``fail_pending``: tickets that had not ended end.
    """
    os.lseek(file, 0, os.SEEK_SET)
    words = ["--file=-", "--exit-on-error", *_OURS, "--no-publications", "--no-subscriptions"]

    def producing(to: int) -> Running:
        argv = [server.clients.path("pg_restore"), *words]
        return Running(server.reactor, argv, files={0: file, 1: to})

    await load(server, producing, before=_before(made), after=_after(fail_pending))


async def copy(old: Server, new: Server) -> None:
    """Everything of one server's database into another's, which is empty."""

    def producing(to: int) -> Running:
        return old.run("pg_dump", "--format=plain", *_OURS, files={1: to})

    await load(new, producing, before=(), after=("ANALYZE;",))


async def load(
    server: Server, producing: Producing, *, before: Sequence[str], after: Sequence[str]
) -> None:
    """Execute in one transaction what ``producing`` writes, and what is to be before and after.

    The COMMIT is only written when the producer has ended well: whatever dies before that, we
    ourselves included, lets psql come to the end of its input in an open transaction.
    """
    theirs, ours = os.pipe()
    loader = server.run("psql", *_PSQL, files={0: theirs})
    os.close(theirs)
    committed = loader.child.said(_COMMITTED)
    begin, commit = ["BEGIN;", *before], [*after, "COMMIT;", f"\\warn {_COMMITTED}"]
    try:
        failures = await _fed(server.reactor, ours, begin, producing, commit)
        failures += await _failure_of(loader)
    except CancelledError:
        await loader.end()
        raise
    if failures or not await committed:
        raise PostgresUnusable(" / ".join(map(str, failures)) or "psql did not commit.")


async def _fed(
    reactor: Any, to: int, begin: Sequence[str], producing: Producing, commit: Sequence[str]
) -> list[PostgresUnusable]:
    """Write all of it, and then let go of the pipe; what failed of it."""
    try:
        await _written(reactor, to, begin)
        await producing(to).finish()
        await _written(reactor, to, commit)
    except PostgresUnusable as failure:
        return [failure]
    finally:
        os.close(to)
    return []


async def _written(reactor: Any, to: int, lines: Sequence[str]) -> None:
    """By a program that waits in our place: psql may be busy for long before it reads on."""
    text = "".join(f"{line}\n" for line in lines)
    await Running(reactor, ["/bin/cat"], files={1: to}, stdin=text.encode()).finish()


async def _failure_of(running: Running) -> list[PostgresUnusable]:
    try:
        await running.finish()
    except PostgresUnusable as failure:
        return [failure]
    return []


def _before(made: bool) -> list[str]:
    """Gateways that start now wait until it is over; what they have made goes."""
    if not made:
        return [*_PATIENCE, f"{LOCK.sql};"]
    tables = ", ".join(["schema_migrations", *_created("TABLE")])
    hold, drop = f"LOCK TABLE {tables};", f"DROP TABLE {tables};"
    others = [f"DROP {kind} {name};" for kind in ("FUNCTION", "TYPE") for name in _created(kind)]
    return [*_PATIENCE, f"{LOCK.sql};", hold, _STILL_EMPTY, drop, *others]


def _created(kind: str) -> list[str]:
    """The names of this kind that the migrations give."""
    found = [made for each in migrations() for made in _CREATED.findall(each.sql)]
    return [name for what, name in found if what == kind]


def _after(fail_pending: bool) -> list[str]:
    """The ids go on where nobody has been yet; a dump leaves no path to the tables."""
    pending = [f"{_FAIL_PENDING.sql};"] if fail_pending else []
    moved = [f"{_COUNTERS.sql};", _FLOOR, f"{_NOBODY_ON_LINE.sql};", *pending]
    return ["RESET search_path;", *moved, "ANALYZE;"]
