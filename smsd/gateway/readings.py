"""Reading for many who wait, a few at a time.

A message may wake ten thousand readers. Those who ask the same share one reading, as long as it
has not begun when they ask: what was there then, it finds. The others take their turns, so that
most connections of the pool are free for everybody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.gateway.breath import Breath

T = TypeVar("T")

Read = Callable[[], Awaitable[T]]


class Readings(Generic[T]):
    """At most ``most`` readings at once, in the order in which they were asked for."""

    def __init__(self, reactor: Any, most: int) -> None:
        self._most = most
        self._busy = 0
        self._beginning = False
        self._asked: dict[Hashable, tuple[Read[T], list[Deferred[T]]]] = {}
        self._breath: Breath[T] = Breath(reactor)

    async def take(self, what: Hashable, read: Read[T]) -> T:
        """What ``read`` gives, or raises, once it is its turn; equal ``what``s are one reading.

        Whoever is cancelled is forgotten, and a reading for nobody never begins.
        """
        answer: Deferred[T] = Deferred()
        _, answers = self._asked.setdefault(what, (read, []))
        answers.append(answer)
        self._begin()
        return await answer

    def _begin(self) -> None:
        # A loop: one that fails at once would else begin the next from within, and so on down.
        if self._beginning:
            return
        self._beginning = True
        while self._asked and self._busy < self._most:
            read, answers = self._asked.pop(next(iter(self._asked)))
            if not all(answer.called for answer in answers):
                self._busy += 1
                Deferred.fromCoroutine(self._read(read, answers))
        self._beginning = False

    async def _read(self, read: Read[T], answers: list[Deferred[T]]) -> None:
        outcome: T | Failure
        try:
            outcome = await read()
        except Exception:
            outcome = Failure()
        self._busy -= 1
        self._breath.tell(answers, outcome)
        self._begin()
