"""One connection to Postgres: the only place that touches txpostgres.

It runs one statement at a time, is never cancelled (that would block the whole reactor on a
database that does not answer) and, when it must be given up, is cut at the socket instead.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import psycopg2
from twisted.internet.defer import CancelledError, Deferred
from txpostgres import txpostgres

from smsd.store.statements import Statement
from smsd.store.trouble import CannotConnect, away, is_dead, translated, unanswered

Row = tuple[Any, ...]

#: Told to every session: answers in UTC, no query or idle transaction for ever, no waiting for
#: a lock that somebody holds for long; rows are looked up by key, and no plan is worth compiling,
#: nor one for single parameters where a statement is prepared.
OPTIONS = (
    "-c timezone=UTC -c statement_timeout=5s -c lock_timeout=500ms"
    " -c idle_in_transaction_session_timeout=10s -c client_min_messages=error"
    " -c synchronous_commit=on -c random_page_cost=1.1 -c jit=off"
    " -c plan_cache_mode=force_generic_plan"
)
KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
    "application_name": "smsd",
}


class _Wire(txpostgres.Connection):  # type: ignore[misc]
    """txpostgres' connection, which tells when it dies while nobody is asking.

    In any turn libpq may let go of the socket, or take another one (it tries twice, with and
    without TLS). So none is left with the reactor over a turn: it would keep the stale number,
    and be blind to whichever connection has that number next.
    """

    lost: Callable[[], None] = staticmethod(lambda: None)

    def doRead(self) -> None:
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        if self.closed:
            return
        try:
            self.continuePolling()
        except psycopg2.Error:
            self.lost()
        else:
            self.listen()

    doWrite = doRead

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """What begins a statement; libpq may find in it that the socket is no more."""
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        return super().cursor(*arguments, **options)

    def cursorFinished(self, cursor: object) -> None:
        self._cursors.remove(cursor)
        self.listen()

    def listen(self) -> None:
        """Hear of it when the connection dies between two statements."""
        if self._pollingD is None and not self.closed and self.fileno() >= 0:
            self.reactor.addReader(self)
            self.checkForNotifies()


def _in_one_line(said: str) -> str:
    """libpq asks a question on a line of its own."""
    return ". ".join(" ".join(line.split()) for line in said.splitlines() if line.strip())


class Connection:
    """A connection in autocommit: each statement is a transaction unless one was begun."""

    def __init__(self, reactor: Any, lost: Callable[[Connection], None]) -> None:
        self.usable = False
        #: A statement is on its way that may store something for good.
        self.committing = False
        self._lost = lost
        self._wire = _Wire(reactor=reactor)
        self._wire.lost = self._give_up
        #: How each statement that was prepared here is executed, and how often that was done.
        self._prepared: dict[str, str] = {}
        self._executed = 0

    async def open(self, conninfo: str, options: str = OPTIONS) -> None:
        """Connect; raises `CannotConnect`, which says what the database or libpq said."""
        try:
            await self._wire.connect(conninfo, options=options, **KEEPALIVE)
        except psycopg2.Error as error:
            self.close()
            raise CannotConnect(_in_one_line(str(error))) from None
        self.usable = True

    async def fetch(
        self,
        statement: Statement,
        parameters: Mapping[str, object] | None = None,
        *,
        commits: bool = False,
    ) -> list[Row]:
        """The rows of one statement, an empty list where it gives none.

        ``commits``: it is a transaction of its own, or the end of one, so that where the
        connection dies under it nobody knows what it did: `Unanswered`.
        """
        try:
            sql = await self._prepare(statement) if statement.prepared else statement.sql
            cursor = self._wire.cursor()
            self.committing = commits
            await cast("Deferred[object]", cursor.execute(sql, parameters))
            return cast("list[Row]", cursor.fetchall()) if cursor.description else []
        except CancelledError:
            # So txpostgres calls every statement that Postgres ended, as for its time-out.
            raise away() from None
        except psycopg2.Error as error:
            self._wire.listen()  # where it was refused before it was sent, nobody else does
            raise self._told(error) from None
        finally:
            self.committing = False

    def _told(self, error: psycopg2.Error) -> Exception:
        if not is_dead(error):
            return translated(error)
        asked = self.committing
        self._give_up()
        return unanswered() if asked else away()

    async def _prepare(self, statement: Statement) -> str:
        if statement.name not in self._prepared:
            await self._tell(statement.preparation)
            self._prepared[statement.name] = statement.execution
        self._executed += 1
        if _is_power_of_two(self._executed):
            # A plan lasts until Postgres has analysed a table anew, which it does once a minute:
            # one that was made for an empty table would read all of a full one until then.
            await self._tell("DISCARD PLANS")
        return self._prepared[statement.name]

    async def _tell(self, sql: str) -> None:
        await cast("Deferred[object]", self._wire.cursor().execute(sql))

    async def rehearse(self, statements: Iterable[Statement]) -> None:
        """Prepare these before somebody waits for one, and have Postgres read all that it must
        know to plan them: the first tickets over a new connection took 4 to 10 ms more. The plans
        are not kept. Where the tables are empty yet they use the wrong index, and a plan that is
        kept over 16 times its age made sending 5 times slower for seconds."""
        for statement in statements:
            if statement.name not in self._prepared:
                await self.fetch(Statement(statement.name, statement.preparation))
                self._prepared[statement.name] = statement.execution
            await self.fetch(Statement(statement.name, statement.rehearsal))
        if self._prepared:
            await self.fetch(Statement("forget", "DISCARD PLANS"))

    def cut(self) -> None:
        """Make the operating system end it: whoever waits for an answer learns so at once."""
        self.usable = False
        if self._wire.pollable() is None or self._wire.closed:
            return
        try:
            with socket.socket(fileno=self._wire.fileno()) as shared:
                try:
                    shared.shutdown(socket.SHUT_RDWR)
                finally:
                    shared.detach()
        except OSError:
            pass  # it was gone already

    def close(self) -> None:
        """Say good-bye; for a connection on which nothing is under way."""
        self.usable = False
        if self._wire.pollable() is not None:
            self._wire.close()

    def _give_up(self) -> None:
        if self.usable:
            self.usable = False
            self._lost(self)


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
