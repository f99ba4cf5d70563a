"""Waking those who wait for something to happen in an org: long polls, streams and hooks.

A reader registers, then reads, then sleeps: what happens while it reads has rung already. The
bell says only that something may have happened; what did is in the tables. It is rung after a
commit on this node; what other nodes commit is found by `look`, one question a second for all orgs
that are waited for, however many readers wait. A reader that sleeps costs memory and a timer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from smsd.gateway.breath import Breath
from smsd.store.events import Bounds

Look = Callable[[Sequence[str]], Awaitable[dict[str, Bounds]]]


class Ear:
    """One reader of one org, from the beginning to the end of a ``with`` block."""

    def __init__(self, bell: Bell, org_id: str) -> None:
        self.org_id = org_id
        self._bell = bell
        self._rung = False
        self._sleeping: Deferred[None] | None = None
        # It reads later than the last look, and so at least what stood there then.
        self._known: Bounds | None = bell._stood.get(org_id)

    def __enter__(self) -> Ear:
        self._bell._ears.setdefault(self.org_id, {})[self] = None
        return self

    def __exit__(self, *_: object) -> None:
        ears = self._bell._ears[self.org_id]
        del ears[self]
        if not ears:
            del self._bell._ears[self.org_id]

    def knows(self, bounds: Bounds) -> None:
        """What was read stood there: `Bell.look` need not wake this reader for that again."""
        self._known = bounds

    async def rings(self, seconds: float | None = None) -> bool:
        """Whether something may have happened since this was last asked; waits for it, so many
        seconds at most (None: for ever, and without a timer), or until the gateway ends."""
        if not self._rung and not self._bell.closed and (seconds is None or seconds > 0):
            await self._sleep(seconds)
        rung, self._rung = self._rung, False
        return rung

    async def _sleep(self, seconds: float | None) -> None:
        sleeping: Deferred[None] = Deferred()
        self._sleeping = sleeping
        if seconds is not None:
            sleeping.addTimeout(seconds, self._bell._reactor, lambda *_: None)
        try:
            await sleeping
        finally:
            self._sleeping = None

    def _ring(self) -> Deferred[None] | None:
        self._rung = True
        return self._woken()

    def _woken(self) -> Deferred[None] | None:
        sleeping, self._sleeping = self._sleeping, None
        return sleeping

    def _behind(self, bounds: Bounds) -> bool:
        known = self._known
        if known and bounds.message <= known.message and bounds.last <= known.last:
            return False
        self._known = bounds
        return True


class Bell:
    """``look`` tells where orgs stand, as `smsd.store.events.bounds` does."""

    def __init__(self, reactor: Any, look: Look) -> None:
        self._reactor = reactor
        self._look = look
        self._breath: Breath[None] = Breath(reactor)
        self._ears: dict[str, dict[Ear, None]] = {}
        self._looking = False
        #: Where the orgs stood that were waited for at the last look.
        self._stood: dict[str, Bounds] = {}
        self._followed: Container[str] = ()
        self._tell: Callable[[str], None] = lambda _: None
        self.closed = False

    def follow(self, org_ids: Container[str], tell: Callable[[str], None]) -> None:
        """``tell`` is called with each org of ``org_ids``, which may change, that is rung for; one
        follower hears of many orgs, and needs no ear for each."""
        self._followed, self._tell = org_ids, tell

    def ear(self, org_id: str) -> Ear:
        """To be used in a ``with`` block."""
        return Ear(self, org_id)

    @property
    def waiting(self) -> int:
        """How many readers there are."""
        return sum(len(ears) for ears in self._ears.values())

    def ring(self, *org_ids: str) -> None:
        """Something was committed in these orgs."""
        for org_id in org_ids:
            if ears := self._ears.get(org_id):
                self._wake([ear._ring() for ear in ears])
            if org_id in self._followed:
                self._tell(org_id)

    async def look(self) -> None:
        """What have other nodes done? To be called every second."""
        if self._ears and not self._looking:
            self._looking = True
            try:
                found = await self._look(sorted(self._ears))
            finally:
                self._looking = False
            self._stood = found
            for org_id, bounds in found.items():
                ears = [ear for ear in self._ears.get(org_id, ()) if ear._behind(bounds)]
                self._wake([ear._ring() for ear in ears])

    def close(self) -> None:
        """Nobody waits any longer: the gateway is shutting down."""
        self.closed = True
        for ears in list(self._ears.values()):
            self._wake([ear._woken() for ear in ears])

    def _wake(self, sleepers: Iterable[Deferred[None] | None]) -> None:
        if awake := [one for one in sleepers if one is not None]:
            self._breath.tell(awake, None)
