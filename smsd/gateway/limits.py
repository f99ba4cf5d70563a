"""How often one address may do a thing: a sliding window in memory, off where the limit is 0."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil

from smsd.domain.errors import TooMany


class Limit:
    """At most ``most`` times in ``seconds`` for each key."""

    def __init__(self, clock: Callable[[], float], most: int, seconds: float, what: str) -> None:
        self._clock, self._most, self._seconds, self._what = clock, most, seconds, what
        self._times: dict[str, deque[float]] = {}

    def allow(self, most: int) -> None:
        """From here on so many, 0 for no limit; what was counted counts."""
        self._most = most

    def check(self, key: str) -> None:
        """Raises `TooMany` when the key has used up what it may, and counts nothing."""
        times = self._recent(key)
        if self._most and len(times) >= self._most:
            wait = times[0] + self._seconds - self._clock()
            raise TooMany(
                f"This address may make at most {self._most} {self._what}.",
                retry_after=max(1, ceil(wait)),
            )

    def count(self, key: str) -> None:
        """The key is about to do it: counted before it is done, so that many at once cannot beat
        the limit. Raises `TooMany` when the key has used up what it may."""
        self.check(key)
        if self._most:
            self._times.setdefault(key, deque()).append(self._clock())

    def take_back(self, key: str) -> None:
        """The key did not do it after all."""
        if times := self._recent(key):
            times.pop()

    def prune(self) -> None:
        """Forget keys that have done nothing lately."""
        for key in list(self._times):
            self._recent(key)

    def _recent(self, key: str) -> deque[float]:
        times = self._times.get(key)
        if times is None:
            return deque()
        while times and times[0] <= self._clock() - self._seconds:
            times.popleft()
        if not times:
            del self._times[key]
        return times
