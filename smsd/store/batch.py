"""Group commit: what arrives while a statement is in flight goes out together in the next one.

No timer and no added latency when idle; under load the batches grow by themselves. Every waiter
is answered after the commit that holds its entry. A bad entry never fails its neighbours: a batch
that the database refuses is tried again half by half until the culprit is alone, and one that
meets a lock org by org. The queue is bounded; past the bound, callers hear `Unavailable` at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smsd.domain.errors import Unavailable
from smsd.store.trouble import Contended, DataRefused, away

E = TypeVar("E")
A = TypeVar("A")

#: One statement carries at most so many rows and bytes, beyond its first entry.
ROWS, BYTES = 2000, 4 << 20
#: A lane holds at most so many rows and bytes that wait.
MOST_ROWS, MOST_BYTES = 20_000, 64 << 20


@dataclass(eq=False, slots=True)
class Waiter(Generic[E, A]):
    """An entry and who waits for its commit."""

    entry: E
    org_id: str
    rows: int
    size: int
    answer: Deferred[A] = field(default_factory=Deferred)


class Batch(Generic[E, A]):
    """One lane of writes, with one statement in flight.

    ``write`` stores a sequence of entries in one statement and returns an answer for each, in
    their order.
    """

    _log = Logger()

    def __init__(
        self, name: str, write: Callable[[Sequence[E]], Awaitable[Sequence[A]]], *, rows: int = ROWS
    ) -> None:
        self._name = name
        self._write = write
        self._rows = rows
        self._queue: deque[Waiter[E, A]] = deque()
        #: Parts of a batch that was refused as a whole; they go before the queue.
        self._parts: deque[list[Waiter[E, A]]] = deque()
        self._queued_rows = 0
        self._queued_bytes = 0
        self._busy = False
        self._drained: list[Deferred[None]] = []

    def put(self, entry: E, *, org_id: str, rows: int = 1, size: int = 0) -> Deferred[A]:
        """The answer to this entry, after its commit.

        Fails with `Unavailable` when the lane is full or the database away, and with
        `DataRefused` when it is this very entry that the database refuses.
        """
        waiter: Waiter[E, A] = Waiter(entry, org_id, rows, size)
        full = self._queued_rows + rows > MOST_ROWS or self._queued_bytes + size > MOST_BYTES
        if full and self._queue:
            waiter.answer.errback(away("More arrives than can be stored. Try again."))
            return waiter.answer
        self._queue.append(waiter)
        self._queued_rows += rows
        self._queued_bytes += size
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._fly())
        return waiter.answer

    async def drained(self) -> None:
        """When nothing waits any more."""
        if self._busy:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            await drained

    async def _fly(self) -> None:
        while self._parts or self._queue:
            await self._store(self._parts.popleft() if self._parts else self._next())
        self._busy = False
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)

    def _next(self) -> list[Waiter[E, A]]:
        taken: list[Waiter[E, A]] = []
        rows = size = 0
        while self._queue:
            first = self._queue[0]
            if taken and (rows + first.rows > self._rows or size + first.size > BYTES):
                break
            taken.append(self._queue.popleft())
            rows, size = rows + first.rows, size + first.size
        self._queued_rows -= rows
        self._queued_bytes -= size
        return taken

    async def _store(self, waiters: list[Waiter[E, A]]) -> None:
        try:
            answers = await self._write([waiter.entry for waiter in waiters])
            answered = list(zip(waiters, answers, strict=True))
        except DataRefused as refused:
            self._part(waiters, _halves(waiters), refused)
        except Contended as contended:
            self._part(waiters, _by_org(waiters), contended)
        except Unavailable as problem:
            # Those behind have waited as long for the same database.
            _fail(waiters + self._take_all(), problem)
        except Exception as bug:
            self._log.failure("{lane} batch failed", lane=self._name)
            _fail(waiters, bug)
        else:
            for waiter, answer in answered:
                waiter.answer.callback(answer)

    def _part(
        self, waiters: list[Waiter[E, A]], parts: list[list[Waiter[E, A]]], why: Exception
    ) -> None:
        if len(parts) == 1:
            _fail(waiters, why)
        else:
            self._parts.extendleft(reversed(parts))

    def _take_all(self) -> list[Waiter[E, A]]:
        taken = [waiter for part in self._parts for waiter in part] + list(self._queue)
        self._parts.clear()
        self._queue.clear()
        self._queued_rows = self._queued_bytes = 0
        return taken


def _halves(waiters: list[Waiter[E, A]]) -> list[list[Waiter[E, A]]]:
    middle = len(waiters) // 2
    return [half for half in (waiters[:middle], waiters[middle:]) if half]


def _by_org(waiters: list[Waiter[E, A]]) -> list[list[Waiter[E, A]]]:
    groups: dict[str, list[Waiter[E, A]]] = {}
    for waiter in waiters:
        groups.setdefault(waiter.org_id, []).append(waiter)
    return list(groups.values())


def _fail(waiters: list[Waiter[E, A]], why: Exception) -> None:
    for waiter in waiters:
        waiter.answer.errback(why)
