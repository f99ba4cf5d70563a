"""What tickets that are being stored may expect, from before the statement to after its commit.

A place at a phone is promised before the ticket is stored, so that it is free when it comes; a
ticket that will wait is noted, so that no newer one for the same phone is stored ahead of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from smsd.gateway.visit import Visit


@dataclass(frozen=True, slots=True)
class Offer:
    """What a ticket that is being stored may expect: a place at this phone, or to wait (None)."""

    org_id: str
    key: str
    visit: Visit | None
    #: Its time has not come: it is in no queue, and holds nobody back.
    later: bool = False


class Promises:
    """Keeps count of the offers that are open."""

    def __init__(self) -> None:
        #: Tickets that are being stored as queued, by org and queue.
        self._queueing: Counter[tuple[str, str]] = Counter()
        #: Phones that left while tickets for them were being stored or claimed.
        self._underway: dict[Visit, Deferred[None]] = {}

    def place(self, visit: Visit, key: str) -> Offer:
        """Promise a place at this phone."""
        visit.promised += 1
        return Offer(visit.org_id, key, visit)

    def wait(self, org_id: str, key: str) -> Offer:
        """The ticket will wait."""
        self._queueing[org_id, key] += 1
        return Offer(org_id, key, None)

    def postpone(self, org_id: str, key: str) -> Offer:
        """The ticket will not even wait yet."""
        return Offer(org_id, key, None, later=True)

    def take_back(self, offers: Sequence[Offer]) -> None:
        """These tickets are stored, or not; nothing is promised to them any more."""
        for offer in offers:
            if offer.later:
                continue
            if offer.visit is not None:
                offer.visit.promised -= 1
                self.let_go(offer.visit)
                continue
            place = (offer.org_id, offer.key)
            self._queueing[place] -= 1
            if not self._queueing[place]:
                del self._queueing[place]

    def somebody_queues_for(self, visit: Visit) -> bool:
        """Whether a ticket that this phone may have to serve is being stored as queued."""
        return bool(self._queueing) and any(
            (visit.org_id, key) in self._queueing for key in visit.keys
        )

    async def kept(self, visit: Visit) -> None:
        """When nothing is on its way to a phone that has left any more."""
        if visit.promised or visit.feeding:
            underway: Deferred[None] = Deferred()
            self._underway[visit] = underway
            await underway

    def let_go(self, visit: Visit) -> None:
        """Something that was on its way to this phone has come to its end."""
        if not (visit.promised or visit.feeding) and visit in self._underway:
            self._underway.pop(visit).callback(None)
