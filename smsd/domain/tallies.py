"""What is counted while the gateway works: numbers that only grow, and how long things take.

Made to cost next to nothing where they are fed, some tenths of a microsecond, so nobody need ask
whether somebody looks. Who reads them, and under which names, is `smsd.sight`'s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

#: Upper bounds for what the gateway does itself, and for what phones and networks do. Seconds.
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SLOW = (0.05, 0.25, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 600.0)


class Spread:
    """How many values were at most so large, and their sum."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float] = QUICK) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def at_most(self) -> list[int]:
        """How many values were at most as large as each bound; behind these, how many in all."""
        return list(accumulate(self._counts))


class LaneTally:
    """How one lane of batches fares: how long each batch took, the rows in them, and those that
    the database refused or did not answer."""

    __slots__ = ("failures", "name", "rows", "seconds")

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = Spread()
        self.rows = self.failures = 0

    def add(self, rows: int, seconds: float) -> None:
        self.rows += rows
        self.seconds.add(seconds)


class RouteTally:
    """How one route fares: its answers by status, and how long each took that did not wait for
    something to happen."""

    __slots__ = ("method", "route", "seconds", "statuses")

    def __init__(self, method: str, route: str) -> None:
        self.method, self.route = method, route
        self.statuses: dict[int, int] = {}
        self.seconds = Spread()

    def add(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.seconds.add(seconds)

    def count(self, status: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1


class PushTally:
    """What phones were given: pushes, those that were not the first of their ticket, and how long
    each waited for its receipt and for its result."""

    __slots__ = ("again", "pushes", "receipts", "results")

    def __init__(self) -> None:
        self.pushes = self.again = 0
        self.receipts, self.results = Spread(), Spread(SLOW)
