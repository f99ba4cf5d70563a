"""One timer for many moments: whoever asked is told when his has come.

A moment that was asked for before is replaced. Nothing is kept that the tables could not say again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Wheel(Generic[K]):
    """``turn`` is called with what was asked for, by the reactor's clock and not before."""

    def __init__(self, reactor: Any, turn: Callable[[K], object]) -> None:
        self._reactor = reactor
        self._turn = turn
        self._at: dict[K, float] = {}
        self._next: list[tuple[float, int, K]] = []
        self._order = count()
        self._timer: Any = None

    def __len__(self) -> int:
        return len(self._at)

    def after(self, seconds: float, what: K) -> None:
        """Tell of this in so many seconds, and not when it was to be before."""
        self._at[what] = when = self._reactor.seconds() + seconds
        heappush(self._next, (when, next(self._order), what))
        if len(self._next) > 2 * len(self._at) + 8:
            self._next = [entry for entry in self._next if self._at.get(entry[2]) == entry[0]]
            heapify(self._next)
        self._set()

    def drop(self, what: K) -> None:
        """Do not tell of this any more."""
        if self._at.pop(what, None) is not None:
            self._set()

    def stop(self) -> None:
        """Tell of nothing any more."""
        self._at.clear()
        self._set()

    def _set(self) -> None:
        """Let the timer stand at the first moment that still counts."""
        while self._next and self._at.get(self._next[0][2]) != self._next[0][0]:
            heappop(self._next)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._next:
            wait = max(0.0, self._next[0][0] - self._reactor.seconds())
            self._timer = self._reactor.callLater(wait, self._pass)

    def _pass(self) -> None:
        now, due = self._reactor.seconds(), []
        while self._next and self._next[0][0] <= now:
            when, _, what = heappop(self._next)
            if self._at.get(what) == when:
                del self._at[what]
                due.append(what)
        self._set()
        for what in due:
            self._turn(what)
