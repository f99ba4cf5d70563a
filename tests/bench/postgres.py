"""The one Postgres that all sides of a measurement share: durable as it comes, and private.

What differs from Postgres' defaults is room for the clients, and that statements are counted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from faults.server import Server

_OPTIONS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "autovacuum": "on",
    "jit": "off",
    "shared_preload_libraries": "pg_stat_statements",
}
_numbers = count(1)


class Postgres(Server):
    """A server below ``home``; every measurement gets a database of its own."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, options=_OPTIONS)
        # In the template, so that every database has the view.
        self.ask("CREATE EXTENSION pg_stat_statements", database="template1")

    @contextmanager
    def database(self) -> Iterator[Database]:
        """An empty one, dropped at the end."""
        name = f"bench_{next(_numbers)}"
        self.ask(f"CREATE DATABASE {name} OWNER smsd", database="postgres")
        try:
            yield Database(self, name)
        finally:
            self.ask(f"DROP DATABASE {name} WITH (FORCE)", database="postgres")

    def program(self, name: str, *argv: str) -> str:
        """What one of Postgres' programs wrote; it has to be of the server's version."""
        ran = subprocess.run(
            **self._inside(name, *argv), capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise SystemExit(f"{name} failed:\n{ran.stderr}")
        return ran.stdout

    def _own_disks(self) -> tuple[None, str]:
        return None, "it is measured on the machine's own disk"

    def _inside(self, program: str, *argv: str) -> dict[str, Any]:
        # A test's cluster takes small segments, which would make every side wait for new ones.
        return super()._inside(program, *(a for a in argv if not a.startswith("--wal-segsize")))


class Database:
    """One database of the server."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name

    @property
    def conninfo(self) -> str:
        """For libpq."""
        return " ".join(f"{key}={value}" for key, value in self.place.items())

    @property
    def place(self) -> Mapping[str, str]:
        """How both sides reach it: the same way, over the unix socket."""
        host, port = str(self.server._sockets), str(self.server._port)
        return {"host": host, "port": port, "user": "smsd", "dbname": self.name}

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        return self.server.ask(sql, *values, database=self.name)

    def number(self, sql: str, *values: object) -> float:
        """The one number that a statement answers; 0 where that is null."""
        ((found,),) = self.ask(sql, *values)
        return float(found or 0)

    def written(self, pattern: str) -> Written:
        """By the side under test, in statements like this."""
        ((rows, statements),) = self.ask(
            """SELECT coalesce(sum(s.rows), 0)::bigint, coalesce(sum(s.calls), 0)::bigint
               FROM public.pg_stat_statements AS s
               JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database()
               JOIN pg_roles AS r ON r.oid = s.userid AND r.rolname = 'smsd'
               WHERE s.query LIKE %s""",
            pattern,
        )
        return Written(rows, statements)


class Written(NamedTuple):
    """How many rows in how many statements."""

    rows: int
    statements: int

    def __sub__(self, before: Written) -> Written:
        return Written(self.rows - before.rows, self.statements - before.statements)
