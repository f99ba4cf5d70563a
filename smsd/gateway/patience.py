"""Doing again what the database could not do just now, until it can or the time is up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable

T = TypeVar("T")

SOON, LATE = 0.1, 2.0


class Patience:
    """``chance`` gives numbers from 0 to 1, so that many do not come back at once."""

    def __init__(self, reactor: Any, chance: Callable[[], float]) -> None:
        self._reactor = reactor
        self._chance = chance
        self._over = False

    async def insist(
        self, work: Callable[[], Awaitable[T]], *, until: float | None = None, late: float = LATE
    ) -> T:
        """What ``work`` gives, tried again while it raises `Unavailable`.

        Pauses grow to about ``late`` seconds. ``until`` is on the reactor's clock; when the next
        try would be later than that, or when patience is over because the gateway ends, the
        `Unavailable` is raised.
        """
        pause = SOON
        while True:
            wait = pause * (0.5 + self._chance())
            try:
                return await work()
            except Unavailable:
                if self._over or (until is not None and self.now + wait > until):
                    raise
            await self._pause(wait)
            pause = min(late, 2 * pause)

    async def within(self, seconds: float, coming: Deferred[list[T]]) -> list[T]:
        """What comes, or an empty list where it does not come so soon."""
        return await coming.addTimeout(seconds, self._reactor, lambda *_: [])

    @property
    def now(self) -> float:
        """The reactor's clock, in seconds."""
        return float(self._reactor.seconds())

    def end(self) -> None:
        """From now on every failure is final."""
        self._over = True

    def _pause(self, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, pause.callback, None)
        return pause
