"""How much of its limits one org uses: what the database counted, and what this node has added
since it was asked.

What is on its way is added from before it is stored until a count that was asked for after its
end: it is counted twice for a moment rather than not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.domain.allowance import Allowance
from smsd.domain.errors import StorageFull
from smsd.domain.refusals import Asked, Used, refusal
from smsd.store import limits
from smsd.store.database import Database

#: A count is believed for so long, and made again before a refusal where it is older than that;
#: but none sooner than so many times as long as the last one took. Seconds.
GOOD_FOR, DOUBTED, TIMES = 1.0, 0.2, 20
#: Messages that are stored are counted once, and again where there seem to be too many; ids say
#: how many came since. Seconds.
RECOUNTED = 5.0
#: What nobody has asked for so long is forgotten. Seconds.
IDLE = 60.0


class Added:
    """What this node adds to a count."""

    def __init__(self) -> None:
        self._under_way = self._before = self._since = 0

    def __bool__(self) -> bool:
        return bool(self._under_way)

    def __int__(self) -> int:
        return self._under_way + self._before + self._since

    @contextmanager
    def adding(self, number: int) -> Iterator[None]:
        """So many are being stored."""
        self._under_way += number
        try:
            yield
        finally:
            self._under_way -= number
            self._since += number

    def asking(self) -> None:
        """The database is asked now: it knows of all that has ended."""
        self._before, self._since = self._before + self._since, 0

    def told(self) -> None:
        """It has answered."""
        self._before = 0


class Tally:
    """One org's. ``clock`` gives seconds."""

    def __init__(self, database: Database, org_id: str, clock: Callable[[], float]) -> None:
        self._database = database
        self._org_id = org_id
        self._clock = clock
        self._usage: limits.Usage | None = None
        self._stored: limits.Stored | None = None
        self._arrivals, self._sends = Added(), Added()
        self._asked_at = self._counted_at = clock()
        self._took = self._counting_took = 0.0
        #: No further were messages counted, for less was allowed then.
        self._counted_to = 0
        self._asking: list[Deferred[Failure | None]] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is lost where it is forgotten."""
        return self._asking is None and self._age > IDLE and not (self._arrivals or self._sends)

    async def admit(self, allowed: Allowance, asked: Asked) -> AbstractContextManager[None]:
        """Let a call do what it asks, within the context that is given back.

        Raises `StorageFull`, `QueueFull` or `TooManySends`.
        """
        await self._look(allowed, GOOD_FOR)
        if problem := refusal(allowed, self._used, asked):
            await self._look(allowed, DOUBTED, again=isinstance(problem, StorageFull))
            if problem := refusal(allowed, self._used, asked):
                raise problem
        return self._adding(asked)

    @contextmanager
    def _adding(self, asked: Asked) -> Iterator[None]:
        with self._arrivals.adding(asked.arrivals), self._sends.adding(asked.sends):
            yield

    @property
    def _used(self) -> Used:
        usage, sends = self._usage, int(self._sends)
        if usage is None:
            return Used()
        stored = self._known_stored(usage) + int(self._arrivals) + sends
        return Used(stored, usage.queued + sends, usage.sent + sends, usage.sent_for)

    def _known_stored(self, usage: limits.Usage) -> int:
        if self._stored is None:
            return 0
        return self._stored.number + max(0, usage.last_id - self._stored.last_id)

    @property
    def _age(self) -> float:
        return self._clock() - self._asked_at

    async def _look(self, allowed: Allowance, good_for: float, *, again: bool = False) -> None:
        """Ask where what is known is older than that; whoever asks at the same time waits too."""
        if self._asking is not None:
            waiting: Deferred[Failure | None] = Deferred()
            self._asking.append(waiting)
            await waiting
        elif self._wants_stored(allowed, again) or self._is_old(good_for):
            await self._ask(allowed, again)

    def _is_old(self, good_for: float) -> bool:
        return self._usage is None or self._age >= max(good_for, TIMES * self._took)

    def _wants_stored(self, allowed: Allowance, again: bool) -> bool:
        if self._stored is None or not allowed.max_stored:
            return bool(allowed.max_stored)
        if self._stored.number >= self._counted_to <= allowed.max_stored:
            return True
        pause = max(RECOUNTED, TIMES * self._counting_took)
        return again and self._clock() - self._counted_at >= pause

    async def _ask(self, allowed: Allowance, again: bool) -> None:
        waiting = self._asking = list[Deferred[Failure | None]]()
        outcome: Failure | None = None
        try:
            if self._wants_stored(allowed, again):
                await self._count(allowed)
            await self._ask_usage(allowed)
        except Exception:
            outcome = Failure()
            raise
        finally:
            self._asking = None
            for one in waiting:
                one.callback(outcome)  # a failure is told as one

    async def _count(self, allowed: Allowance) -> None:
        began = self._clock()
        most = allowed.max_stored + 1
        self._stored = await limits.stored(self._database, self._org_id, most=most)
        self._counted_to = most
        self._counted_at = self._clock()
        self._counting_took = self._counted_at - began

    async def _ask_usage(self, allowed: Allowance) -> None:
        began = self._clock()
        for added in (self._arrivals, self._sends):
            added.asking()
        self._usage = await limits.usage(
            self._database,
            self._org_id,
            queued=allowed.max_queued,
            sends=allowed.max_sends_per_minute,
        )
        for added in (self._arrivals, self._sends):
            added.told()
        self._asked_at, self._took = began, self._clock() - began
