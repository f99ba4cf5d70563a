"""The model's real Postgres: statements that happen when the model says so.

One statement is one transaction and happens at once, so that a run is the same each time; when
it happens, and when its answer comes, is the model's choice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.store.connection import OPTIONS
from smsd.store.statements import Statement
from smsd.store.trouble import away, translated, unanswered


class Server:
    """A connection that does one statement after another."""

    def __init__(self, conninfo: str) -> None:
        self._connection = psycopg2.connect(conninfo, options=OPTIONS)
        self._connection.autocommit = True
        self._prepared: set[str] = set()
        #: How many statements there were.
        self.count = 0

    def close(self) -> None:
        self._connection.close()

    def ask(self, sql: str, parameters: Any = None) -> list[Any]:
        self.count += 1
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(sql, parameters)
            except psycopg2.Error as error:
                raise translated(error) from None
            return cursor.fetchall() if cursor.description else []

    def fetch(self, statement: Statement, parameters: dict[str, object]) -> list[Any]:
        """As the pool's connections do it, prepared statements included."""
        if not statement.prepared:
            return self.ask(statement.sql, parameters or None)
        if statement.name not in self._prepared:
            self.ask(statement.preparation)
            self._prepared.add(statement.name)
        return self.ask(statement.execution, parameters or None)

    def transact(self, body: Callable[[Any], Any]) -> Any:
        """What the body gives, after the commit."""
        self.ask("BEGIN")
        try:
            given = finished(body(_Transaction(self)))
        except BaseException:
            self.ask("ROLLBACK")
            raise
        self.ask("COMMIT")
        return given


@dataclass
class _Transaction:
    _server: Server

    async def run(self, statement: Statement, **parameters: object) -> list[Any]:
        return self._server.fetch(statement, parameters)


def finished(coroutine: Any) -> Any:
    """What this gives, which waits for nothing."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
    assert outcome, "it waits for something"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


@dataclass(eq=False)
class Call:
    """A statement that a node has asked for."""

    name: str
    work: Callable[[], Any]
    answer: Deferred[Any] = field(default_factory=Deferred)
    happened: bool = False
    outcome: Any = None

    def happen(self) -> None:
        if not self.happened:
            self.happened = True
            try:
                self.outcome = self.work()
            except Exception:
                self.outcome = Failure()

    def tell(self) -> None:
        self.answer.callback(self.outcome)

    def fail(self) -> None:
        """The connection broke, before or after it happened; who asked hears which it may be."""
        self.answer.errback(unanswered() if self.happened else away())


#: More calls than this between two choices of the model are calls without end.
ENDLESS = 3000


class Paced:
    """A node's way to the database. ``slow`` is None, or says where calls get stuck."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked: deque[Call] = deque()
        self.slow: str | None = None
        self.names: frozenset[str] = frozenset()
        self.stuck: list[Call] = []
        self.dead = self._forgotten = False
        #: Calls since the model has last looked.
        self.calls: Counter[str] = Counter()

    async def run(self, statement: Statement, **parameters: object) -> list[Any]:
        call = Call(statement.name, lambda: self._server.fetch(statement, parameters))
        return await self._ask(call)

    async def transaction(self, name: str, body: Any, **_: object) -> Any:
        return await self._ask(Call(name, lambda: self._server.transact(body)))

    def go_on(self, at: int) -> None:
        """One of the stuck calls happens, unless it did, and its answer comes."""
        call = self.stuck.pop(at)
        call.happen()
        call.tell()
        self.turn()

    def fail(self, at: int) -> None:
        """One of the stuck calls fails, whether it happened or not."""
        self.stuck.pop(at).fail()
        self.turn()

    def time_out(self) -> None:
        """No call is waited for beyond its deadline, and nobody knows whether it happened."""
        late, self.stuck = self.stuck, []
        for call in late:
            call.answer.errback(unanswered())
        self.turn()

    def be_quick(self) -> None:
        self.slow = None
        while self.stuck:
            self.go_on(0)

    def die(self, happen: int) -> None:
        """The node is no more: it hears nothing. The first of the calls happen all the same."""
        self.dead = True
        for call in self.stuck[:happen]:
            call.happen()

    def forget(self) -> None:
        """Let what still waits for an answer come to an end, for nobody cares any more."""
        self.slow, self._forgotten = None, True
        while self.stuck:
            self.stuck.pop().answer.errback(away())
        self.turn()

    def _ask(self, call: Call) -> Deferred[Any]:
        self._asked.append(call)
        return call.answer

    def turn(self) -> None:
        """What was asked happens: never before who asked has gone on to wait for it."""
        while self._asked:
            self._meet(self._asked.popleft())

    def _meet(self, call: Call) -> None:
        self.calls[call.name] += 1
        if self._forgotten:
            call.answer.errback(away())
        elif self.dead or self.calls.total() > ENDLESS:
            self.stuck.append(call)
        else:
            self._do(call)

    def _do(self, call: Call) -> None:
        sticks = self.slow is not None and (not self.names or call.name in self.names)
        if not (sticks and self.slow == "before"):
            call.happen()
        if sticks:
            self.stuck.append(call)
        else:
            call.tell()
