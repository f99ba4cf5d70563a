"""Group commit: what arrives while a statement is in flight goes out together in the next one.

No timer and no added latency when idle; under load the batches grow by themselves, and of callers
who ask again and again half are served while the others' entries are stored. With 64 of them 31
messages share a statement, and one takes 87 us of Postgres where it takes 1,087 alone (`make
bench`). Every waiter is answered after the commit that holds its entry, and while the next
statement is under way. A bad entry never fails its neighbours: a batch that the database refuses is
tried again half by half until the culprit is alone, and one that meets a lock org by org. The queue
is bounded; past the bound, callers hear `Unavailable` at once.

Where the answer of a statement is lost, a lane that must not guess looks the batch up, most often
before its waiters have noticed. While that cannot be said either the lane is in doubt: its
waiters hear `NotYetKnown`, everybody else is sent away at once, and it asks until it knows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smsd.domain.cause import apart
from smsd.domain.errors import Unavailable
from smsd.domain.tallies import LaneTally
from smsd.store.trouble import Contended, DataRefused, Unanswered, away
from smsd.store.waiter import A, Certainty, E, Waiter

#: One statement carries at most so many rows and bytes, beyond its first entry.
ROWS, BYTES = 2000, 4 << 20
#: Callers who ask again when they are answered stay together. Where most of so many are in one
#: batch, nobody is left to serve while that is stored, so it is made two halves: 64 clients get 7 %
#: more done, and the process idles for 6 % of the time instead of 19 %. 16 gain nothing.
HALVED_FROM = 20
#: A lane holds at most so many rows and bytes that wait.
MOST_ROWS, MOST_BYTES = 20_000, 64 << 20
#: So many orgs may turn out to be locked one after another, and for each we have to wait. Then it
#: is rather the whole table: all others hear so at once, lest they wait for each other's locks.
LOCKED = 2
#: A batch that turned out to be void is stored again where its waiters have waited no longer than
#: this, and a lane in doubt asks at least so often. Seconds.
QUICK, OFTEN = 0.15, 0.5


class Batch(Generic[E, A]):
    """One lane of writes, with one statement in flight.

    ``write`` stores a sequence of entries in one statement and returns an answer for each, in
    their order. Without a ``certainty`` it must be harmless to repeat.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[E]], Awaitable[Sequence[A]]],
        *,
        rows: int = ROWS,
        certainty: Certainty[E, A] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self.tally = LaneTally(name)
        self._clock = clock
        self._write = write
        self._rows = rows
        self._certainty = certainty
        self._in_doubt = False
        self._locked: set[str] = set()
        self._queue: deque[Waiter[E, A]] = deque()
        #: Parts of a batch that was refused as a whole; they go before the queue.
        self._parts: deque[list[Waiter[E, A]]] = deque()
        self._queued_rows = 0
        self._queued_bytes = 0
        self._busy = False
        #: Entries in the batch that was stored last, and in the one before.
        self._last = self._before = 0
        self._drained: list[Deferred[None]] = []

    def put(self, entry: E, *, org_id: str, rows: int = 1, size: int = 0) -> Deferred[A]:
        """The answer to this entry, after its commit.

        Fails with `Unavailable` when the lane is full or the database away, with `NotYetKnown`
        when nobody can say, and with `DataRefused` when it is this very entry that the database
        refuses.
        """
        waiter: Waiter[E, A] = Waiter(entry, org_id, rows, size)
        if self._in_doubt:
            waiter.answer.errback(away())
            return waiter.answer
        full = self._queued_rows + rows > MOST_ROWS or self._queued_bytes + size > MOST_BYTES
        if full and self._queue:
            waiter.answer.errback(away("More arrives than can be stored. Try again."))
            return waiter.answer
        self._queue.append(waiter)
        self._queued_rows += rows
        self._queued_bytes += size
        if not self._busy:
            self._busy = True
            apart(Deferred.fromCoroutine, self._fly())
        return waiter.answer

    @property
    def has_room(self) -> bool:
        """Whether what arrives now is not sent away."""
        full = self._queued_rows >= MOST_ROWS or self._queued_bytes >= MOST_BYTES
        return not (full or self._in_doubt)

    @property
    def waiting(self) -> int:
        """How many rows wait for the next batch."""
        return self._queued_rows

    async def drained(self) -> None:
        """When nothing waits any more."""
        if self._busy:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            await drained

    async def _fly(self) -> None:
        stored: list[tuple[Waiter[E, A], A]] = []
        self._before = self._last = 0
        while stored or self._parts or self._queue:
            # The next statement goes out before those of the last one hear of it: telling them
            # takes about as long as Postgres needs for it.
            flight = Deferred.fromCoroutine(self._depart())
            for waiter, answer in stored:
                waiter.tell(answer)
            stored = await flight
        self._busy = False
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)

    async def _depart(self) -> list[tuple[Waiter[E, A], A]]:
        """Store what is next, if anything is; those of it who are to hear so."""
        if self._parts:
            return await self._store(self._parts.popleft())
        taken = self._next()
        return await self._store(taken) if taken else []

    def _next(self) -> list[Waiter[E, A]]:
        taken: list[Waiter[E, A]] = []
        rows, size, most = 0, 0, self._most()
        while self._queue and len(taken) < most:
            first = self._queue[0]
            if taken and (rows + first.rows > self._rows or size + first.size > BYTES):
                break
            taken.append(self._queue.popleft())
            rows, size = rows + first.rows, size + first.size
        self._queued_rows -= rows
        self._queued_bytes -= size
        self._before, self._last = self._last, len(taken)
        return taken

    def _most(self) -> int:
        """How many entries may go next: all, or half of all callers where most were together."""
        callers = len(self._queue) + self._last
        together = callers >= HALVED_FROM and self._before > callers // 2
        return (callers + 1) // 2 if together else callers

    async def _store(self, waiters: list[Waiter[E, A]]) -> list[tuple[Waiter[E, A], A]]:
        """Those whose entry is stored, with their answers; the others have heard theirs."""
        try:
            answers = await self._timed(waiters)
            answered = list(zip(waiters, answers, strict=True))
        except DataRefused as refused:
            self._part(waiters, _halves(waiters), refused)
        except Contended as contended:
            self._wait_no_more(waiters, contended)
        except Unavailable as problem:
            # Those behind have waited as long for the same database.
            _fail(waiters + self._take_all(), problem)
        except Exception as bug:
            self._log.failure("{lane} batch failed", lane=self._name)
            _fail(waiters, bug)
        else:
            self._locked.clear()
            return answered
        return []

    async def _timed(self, waiters: list[Waiter[E, A]]) -> Sequence[A]:
        began = self._clock()
        try:
            return await self._written(waiters)
        except Exception:
            self.tally.failures += 1
            raise
        finally:
            self.tally.add(sum(waiter.rows for waiter in waiters), self._clock() - began)

    async def _written(self, waiters: list[Waiter[E, A]]) -> Sequence[A]:
        """Their answers; raises `Unavailable` where nothing is stored."""
        certainty = self._certainty
        if certainty is None:
            return await self._write([waiter.entry for waiter in waiters])
        until = certainty.patience.now + QUICK
        answers = await self._surely(waiters, certainty)
        if answers is None and waiters[0].truth is None and certainty.patience.now <= until:
            answers = await self._surely(waiters, certainty)
        if answers is None:
            raise away()
        return answers

    async def _surely(
        self, waiters: list[Waiter[E, A]], certainty: Certainty[E, A]
    ) -> Sequence[A] | None:
        """Their answers, or None where the statement was lost and has stored nothing."""
        try:
            return await self._write([waiter.entry for waiter in waiters])
        except Unanswered as lost:
            if lost.batch_id is None:
                raise
            return await self._truth(waiters, certainty, lost.batch_id)

    async def _truth(
        self, waiters: list[Waiter[E, A]], certainty: Certainty[E, A], batch_id: str
    ) -> Sequence[A] | None:
        """What became of the batch that went out under this id."""
        entries = [waiter.entry for waiter in waiters]

        async def recall() -> Sequence[A] | None:
            return await certainty.recall(entries, batch_id)

        try:
            return await recall()
        except Unavailable:
            self._begin_to_doubt(waiters)
        try:
            return await certainty.patience.insist(recall, late=OFTEN)
        except Unavailable:  # the gateway ends; a lock must not part what nobody knows of
            raise away() from None
        finally:
            self._in_doubt = False

    def _begin_to_doubt(self, waiters: list[Waiter[E, A]]) -> None:
        self._log.warn("{lane}: the answer to a commit was lost; asking for it", lane=self._name)
        self._in_doubt = True
        _fail(self._take_all(), away())
        for waiter in waiters:
            waiter.doubt()

    def _wait_no_more(self, waiters: list[Waiter[E, A]], why: Contended) -> None:
        orgs = _by_org(waiters)
        self._part(waiters, orgs, why)
        if len(orgs) == 1:
            self._locked.add(waiters[0].org_id)
        if len(self._locked) == LOCKED:
            self._locked.clear()
            _fail(self._take_all(), why)

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
        waiter.fail(why)
