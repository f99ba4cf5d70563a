"""The pool: the one way to the database, `run` for a statement and `transaction` for several.

Callers wait in a bounded queue and never longer than a deadline: then they hear `Unavailable`,
and the connection that did not answer is cut and replaced. `Unanswered` is what they hear where
the statement, or the COMMIT, had been sent. A caller that loses interest (a client
that hung up) stops waiting, its transaction goes on to its end: nothing is ever cancelled. Lost
connections come back by themselves. The one that was used last is used next, for its backend has
its plans made and its caches warm: a ticket costs Postgres a sixth less than in turns over ten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsd.domain.cause import apart
from smsd.domain.errors import Unavailable
from smsd.domain.tallies import Spread
from smsd.store.condition import Condition
from smsd.store.connection import Connection, Row
from smsd.store.deadline import Deadline
from smsd.store.statements import Statement
from smsd.store.trouble import Refused, away, unanswered

T = TypeVar("T")

#: Seconds. With the look-up after it (`smsd.store.batches`) callers hear something within 3.
DEADLINE = 2.2
QUEUE = 500
#: Seconds.
_REHEARSAL = 5.0

_LATE = "The database does not answer in time. Try again."

_BEGIN = Statement("begin", "BEGIN")
_COMMIT = Statement("commit", "COMMIT")
_ROLLBACK = Statement("rollback", "ROLLBACK")


class Transaction:
    """An open transaction; store functions take it first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._failure: Exception | None = None

    async def run(self, statement: Statement, **parameters: object) -> list[Row]:
        """The rows of one statement of this transaction."""
        try:
            return await self._connection.fetch(statement, parameters or None)
        except Exception as failure:
            self._failure = failure
            raise

    def check(self) -> None:
        """Raise what a statement raised: Postgres answers the COMMIT of a failed transaction
        with a silent rollback, also where the body has swallowed the error."""
        if self._failure is not None:
            raise self._failure


class Database:
    """A pool of ``size`` connections to the database that ``conninfo`` names."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        conninfo: str,
        *,
        size: int,
        chance: Callable[[], float],
        deadline: float = DEADLINE,
    ) -> None:
        """``chance`` gives numbers from 0 to 1; ``deadline`` is in seconds."""
        self._reactor = reactor
        self._clock = reactor.seconds
        self.conninfo = conninfo
        self._size = size
        self._chance = chance
        self._deadline = deadline
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._waiting: deque[Deferred[Connection]] = deque()
        self._open = False
        self._repertoire: Sequence[Statement] = ()
        self._condition = Condition(reactor.seconds)
        #: How long callers waited for a connection; how many were told that it takes too long.
        self.waits = Spread()
        self.expired = 0

    async def open(self) -> None:
        """Connect once, so that a start that cannot work fails; the rest of the pool follows."""
        self._open = True
        await self._connect()
        for _ in range(self._size - 1):
            self._replace()

    def rehearse(self, statements: Sequence[Statement]) -> None:
        """Have these prepared on every connection before somebody waits for them there. Their
        tables must be there."""
        self._repertoire = statements
        idle = list(self._idle)
        self._idle.clear()
        for connection in idle:
            self._rehearse(connection)

    @property
    def busy(self) -> int:
        """How many connections work for somebody."""
        return len(self._all) - len(self._idle)

    @property
    def idle(self) -> int:
        """How many connections are free."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._waiting)

    async def close(self) -> None:
        """No more calls; what is still under way is cut off."""
        self._open = False
        self._refuse_waiting()
        for connection in list(self._all):
            (connection.close if connection in self._idle else connection.cut)()
        self._all.clear()
        self._idle.clear()

    async def run(self, statement: Statement, **parameters: object) -> list[Row]:
        """One statement, which is a transaction of its own; raises `Unavailable` and its like."""

        async def body(connection: Connection) -> list[Row]:
            return await connection.fetch(statement, parameters or None, commits=True)

        return await self._shielded(statement.name, body, self._deadline)

    async def transaction(
        self,
        name: str,
        body: Callable[[Transaction], Awaitable[T]],
        *,
        deadline: float | None = None,
    ) -> T:
        """What ``body`` returns, after the commit; an exception in it rolls everything back."""

        async def whole(connection: Connection) -> T:
            await connection.fetch(_BEGIN)
            tx = Transaction(connection)
            try:
                result = await body(tx)
                tx.check()
                await connection.fetch(_COMMIT, commits=True)
            except BaseException:
                await _roll_back(connection)
                raise
            return result

        return await self._shielded(name, whole, deadline or self._deadline)

    def _shielded(
        self, name: str, work: Callable[[Connection], Coroutine[Any, Any, T]], deadline: float
    ) -> Deferred[T]:
        """Do the work to its end, but let the caller wait no longer than the deadline."""
        answer: Deferred[T] = Deferred()
        turn: Deferred[Connection] = Deferred()
        held: list[Connection] = []

        async def whole() -> T:
            connection = await self._acquire(turn)
            held.append(connection)
            try:
                if limit.passed:  # the caller was told that nothing was stored
                    raise away()
                return await work(connection)
            finally:
                self._release(connection)

        def expire() -> None:
            self.expired += 1
            asked = any(connection.committing for connection in held)
            for connection in held:
                connection.cut()
                self._condition.silent()
            self._tire(turn)
            answer.errback((unanswered if asked else away)(_LATE))

        limit = Deadline(self._reactor, deadline, expire)

        def done(result: T | Failure) -> None:
            if isinstance(result, Failure) and isinstance(result.value, Refused):
                self._condition.refused(result.value)
            if not limit.passed:
                limit.cancel()
                (answer.errback if isinstance(result, Failure) else answer.callback)(result)  # type: ignore[arg-type]
            elif isinstance(result, Failure) and not result.check(Unavailable):
                self._log.failure("{name}, after its deadline", name=name, failure=result)

        Deferred.fromCoroutine(whole()).addBoth(done)
        return answer

    async def _acquire(self, turn: Deferred[Connection]) -> Connection:
        """A free connection, or the one that comes with the ``turn``."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self.waits.add(0.0)
                return connection
        if not self._open or len(self._waiting) >= QUEUE:
            raise away()
        self._waiting.append(turn)
        began = self._clock()
        try:
            return await turn
        finally:
            self.waits.add(self._clock() - began)

    def _tire(self, turn: Deferred[Connection]) -> None:
        """Wait for it no longer, if it has not come."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            turn.errback(away())

    def _release(self, connection: Connection) -> None:
        if not connection.usable:
            self._drop(connection)
        elif self._waiting:
            self._waiting.popleft().callback(connection)
        elif self._open:
            self._idle.append(connection)
        else:
            connection.close()

    def _rehearse(self, connection: Connection) -> None:
        """Before anybody asks it. What it is refused now, it is refused again, and told, when
        somebody asks."""
        timer = self._reactor.callLater(_REHEARSAL, connection.cut)

        def done(_: object) -> None:
            if timer.active():
                timer.cancel()
            self._release(connection)

        Deferred.fromCoroutine(connection.rehearse(self._repertoire)).addBoth(done)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        if connection in self._all:
            self._all.remove(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._replace()

    def _replace(self) -> None:
        if self._open:
            connected = apart(Deferred.fromCoroutine, self._connect())
            connected.addErrback(self._connect_later)

    async def _connect(self) -> None:
        connection = Connection(self._reactor, self._drop)
        timer = self._reactor.callLater(5, connection.cut)
        try:
            await connection.open(self.conninfo)
        finally:
            if timer.active():
                timer.cancel()
        self._condition.connected()
        self._all.add(connection)
        self._rehearse(connection)

    def _connect_later(self, failure: Failure) -> None:
        if self._open:
            self._condition.cannot_connect(failure.getErrorMessage(), len(self._all))
            self._reactor.callLater(0.1 + 0.9 * self._chance(), self._replace)

    def _refuse_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().errback(away())


async def _roll_back(connection: Connection) -> None:
    if connection.usable:
        try:
            await connection.fetch(_ROLLBACK)
        except Exception:  # the connection is not to be trusted with another caller
            connection.cut()
