"""Tickets to phones: commit first, push second (contract section 3).

Two roads lead to a phone and never run at once for one of them. A new ticket is *promised* a
place before it is stored, is stored as ``sending`` and pushed after the commit; or it is stored
as ``queued`` and claimed later (`smsd.gateway.feeding`). A ticket takes the first road only if
nothing waits for that phone, so first pushes of one priority are in id order. A ticket whose time
has not come is stored on neither road.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smsd.domain.errors import Unavailable
from smsd.domain.records import Ticket, Wish
from smsd.gateway.bell import Bell
from smsd.gateway.feeding import Feeding
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.promises import Offer
from smsd.gateway.resumption import Resumption
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Visit
from smsd.store import pacing
from smsd.store.database import Database
from smsd.store.messages import Pushed


class Dispatch:
    """Hands new tickets over, and sees to those of phones that leave or never answer."""

    def __init__(
        self,
        database: Database,
        roster: Roster,
        resumption: Resumption,
        spawn: Spawn,
        patience: Patience,
        bell: Bell,
        pacing: Pacing,
        feeding: Feeding,
    ) -> None:
        self._database = database
        self._roster = roster
        self._resumption = resumption
        self._spawn = spawn
        self._patience = patience
        self._bell = bell
        self._pacing = pacing
        self._feeding = feeding
        self._promises, self._holds = feeding.promises, feeding.holds

    # -- a new ticket --------------------------------------------------------------------------

    def offer(self, org_id: str, wish: Wish, *, later: bool = False) -> Offer:
        """Promise a place to a ticket that is about to be stored, if it may have one now;
        ``later``: its time has not come."""
        if later:
            return self._promises.postpone(org_id, wish.key)
        visit = self._roster.first(org_id, wish.key)
        if visit is not None and self._takes_now(visit, wish.key):
            return self._promises.place(visit, wish.key)
        return self._promises.wait(org_id, wish.key)

    def withdraw(self, offers: Sequence[Offer]) -> None:
        """These tickets were not stored after all, or the gateway ends before that is known."""
        self._promises.take_back(offers)
        self._feeding.feed_all(self._servers_of(offers))

    async def hand_over(self, stored: Sequence[tuple[Offer, Ticket]]) -> list[bool]:
        """These tickets are committed: push those that were promised a place.

        Whether each was given to a phone's session. One whose phone has left meanwhile goes back
        to the queue, before anybody is told that it was sent.
        """
        given: dict[Visit, list[Ticket]] = {}
        strays: dict[int, Pushed] = {}
        for offer, ticket in stored:
            if offer.visit is not None and not offer.visit.on_line:
                strays[ticket.id] = offer.visit.pushed(ticket.id)
                continue
            self._promises.take_back([offer])
            if offer.later:
                continue
            if offer.visit is None:
                self._note_queued(offer)
            else:
                given.setdefault(offer.visit, []).append(ticket)
        for visit, tickets in given.items():
            visit.give(tickets)
        self._feeding.feed_all(self._servers_of([offer for offer, _ in stored]))
        if strays:
            gone = [offer for offer, ticket in stored if ticket.id in strays]
            await self._return(list(strays.values()), gone)
        return [offer.visit is not None and ticket.id not in strays for offer, ticket in stored]

    async def _return(self, strays: Sequence[Pushed], offers: Sequence[Offer]) -> None:
        """Put back what no phone was given, now or (then the agent hears 503) when the database
        is there again; until then the phones' promises stand, and hold newer tickets back."""
        try:
            await self._feeding.note_ends(strays)
        except Unavailable:
            self._spawn("putting tickets back", self._return_later(strays, offers))
            raise
        self._promises.take_back(offers)

    async def _return_later(self, strays: Sequence[Pushed], offers: Sequence[Offer]) -> None:
        try:
            await self._feeding.put_back(strays)
        finally:
            self._promises.take_back(offers)

    def _takes_now(self, visit: Visit, key: str) -> bool:
        return not (
            self._feeding.closing
            or visit.org_id in self._holds
            or not visit.takes_now
            or self._promises.somebody_queues_for(visit)
            or self._pacing.paces(visit, key)
        )

    def _note_queued(self, offer: Offer) -> None:
        visit = self._roster.first(offer.org_id, offer.key)
        if visit is not None:
            visit.laden = True
            self._feeding.expect({visit})

    def _servers_of(self, offers: Sequence[Offer]) -> set[Visit]:
        """The phones that may have to be fed after these offers have ended."""
        serving = {offer.visit or self._roster.first(offer.org_id, offer.key) for offer in offers}
        return {visit for visit in serving if visit is not None}

    # -- the end of a visit --------------------------------------------------------------------

    async def gone(self, visit: Visit, heirs: set[Visit]) -> None:
        """Write down what is known of the visit's pushes, and let others serve what waits."""
        self._pacing.left(visit)
        comes_back = bool(visit.promised or visit.feeding or visit.unwritten)
        if comes_back:
            self._holds.begin(visit.org_id)
        try:
            await self._write_down(visit)
        finally:
            blocked = self._holds.end(visit.org_id) if comes_back else set()
        self._feeding.wake(heirs | blocked)

    async def _write_down(self, visit: Visit) -> None:
        if waits := self._resumption.left(visit):
            await self._patience.insist(lambda: self._resumption.note(waits))
        if pushes := visit.unsettled():
            await self._feeding.put_back(pushes)
        await self._promises.kept(visit)

    async def resume(self, visit: Visit) -> None:
        """The phone is on line, or has said more of itself: what was it given before?"""
        if not self._feeding.closing:
            await self._patience.insist(lambda: self._resumption.look(visit))
            self._feeding.feed(visit)

    def reported(self, visit: Visit) -> None:
        """The phone has said which SIMs it holds."""
        self._pacing.said(visit)

    def answered(self, visit: Visit, ticket_id: int) -> None:
        """The phone said what became of a ticket."""
        self._resumption.answered(visit, ticket_id)

    def dropped(self, org_id: str, ticket_id: int) -> None:
        """The phone did not send the ticket, for its time was over: that is written down."""
        if self._pacing.concerns(org_id):
            self._spawn("giving back what was not sent", self._give_back(org_id, ticket_id))

    async def _give_back(self, org_id: str, ticket_id: int) -> None:
        if await self._patience.insist(lambda: pacing.give_back(self._database, org_id, ticket_id)):
            self._feeding.look_again(org_id)

    async def note_receipts(self) -> None:
        """Write down what phones that are still on line have read and not answered: when that is
        given up, it counts."""
        pushes = [push for visit in self._roster for push in visit.unsettled(receipted=True)]
        if pushes:
            await self._feeding.note_ends(pushes)

    def given_up(self, late: Iterable[tuple[str, int]]) -> None:
        """These tickets' phones never answered: they have failed, or wait again. (org, id)"""
        by_org: dict[str, set[int]] = {}
        for org_id, ticket_id in late:
            by_org.setdefault(org_id, set()).add(ticket_id)
        for org_id, ids in by_org.items():
            self._bell.ring(org_id)
            visits = set(self._roster.of(org_id))
            for visit in visits:
                visit.given_up(ids)
            self._feeding.wake(visits)
