"""One after another for each key, while different keys do not wait for each other.

A loop serves those who wait, not a chain in which each wakes the next: a hundred who are refused
in one breath would be a hundred calls deep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from smsd.domain.errors import TooMany, Unavailable

T = TypeVar("T")


class Turns(Generic[T]):
    """At most ``most`` wait for a turn at each key; ``what`` says in the refusal what waits."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._waiting: dict[str, deque[tuple[Callable[[], Awaitable[T]], Deferred[T]]]] = {}

    async def take(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` gives when its turn has come; raises `TooMany` where too many wait."""
        waiting = self._waiting.get(key)
        if waiting is not None and len(waiting) >= self._most:
            raise TooMany(f"Too many {self._what} at once.", retry_after=1)
        answer: Deferred[T] = Deferred()
        self._waiting.setdefault(key, deque()).append((work, answer))
        if waiting is None:
            Deferred.fromCoroutine(self._serve(key))
        return await answer

    async def _serve(self, key: str) -> None:
        waiting = self._waiting[key]
        while waiting:
            work, answer = waiting.popleft()
            try:
                outcome: Any = await work()
            except Unavailable as problem:
                # Those behind have waited as long for the same database.
                answers = [answer, *(behind for _, behind in waiting)]
                waiting.clear()
                for refused in answers:
                    refused.errback(problem)
            except Exception as error:
                answer.errback(error)
            else:
                answer.callback(outcome)
        del self._waiting[key]
