"""One timer for all connections: whoever is past its time is told so.

A timer for each connection would be set and cancelled twice a request; here a request only
notes when it must be whole, and once a second somebody looks. So a deadline is met to a second,
and never late.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_LOOK_EVERY = 1.0


class Timed(Protocol):
    """A connection with a time by which something must have happened."""

    due: float

    def expire(self) -> None:
        """That time has come."""


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    """Watches connections until they are forgotten; without any it keeps no timer."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watched: set[T] = set()
        self._look: IDelayedCall | None = None

    def now(self) -> float:
        return self._clock.seconds()

    def watch(self, one: T) -> None:
        self._watched.add(one)
        if self._look is None:
            self._look = self._clock.callLater(_LOOK_EVERY, self._sweep)

    def forget(self, one: T) -> None:
        self._watched.discard(one)
        if self._look is not None and not self._watched:
            self._look.cancel()
            self._look = None

    def watched(self) -> list[T]:
        return list(self._watched)

    def _sweep(self) -> None:
        self._look = self._clock.callLater(_LOOK_EVERY, self._sweep)
        next_look = self._clock.seconds() + _LOOK_EVERY
        for one in [one for one in self._watched if one.due < next_look]:
            one.expire()
