"""Tickets to phones: commit first, push second (contract section 3).

Two roads lead to a phone and never run at once for one of them. A new ticket is *promised* a
place before it is stored, is stored as ``sending`` and pushed after the commit; or it is stored
as ``queued`` and a *feeding* claims it later, the highest priority first and of one priority the
oldest. A ticket takes the first road only if nothing waits for that phone, so first pushes of one
priority are in id order. A ticket whose time has not come is stored on neither road.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.logger import Logger

from smsd.domain.errors import Unavailable
from smsd.domain.records import Ticket, Wish
from smsd.gateway.bell import Bell
from smsd.gateway.certainty import surely
from smsd.gateway.holds import Holds
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.promises import Offer, Promises
from smsd.gateway.resumption import Resumption
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Visit
from smsd.store import messages, pacing
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import Pushed

#: Tickets that one claim takes at most, so that no statement runs for long.
BITE = 500
#: Phones that hear in one turn of the reactor whether something waits: others live too.
ROWS = 200


class Dispatch:
    """Hands tickets over within the limits of each phone."""

    _log = Logger()

    def __init__(
        self,
        database: Database,
        roster: Roster,
        resumption: Resumption,
        spawn: Spawn,
        patience: Patience,
        bell: Bell,
        pacing: Pacing,
    ) -> None:
        self._database = database
        self._pacing = pacing
        pacing.feeds(self.wake)
        self._bell = bell
        self._roster = roster
        self._resumption = resumption
        self._spawn = spawn
        self._patience = patience
        self._closing = False
        self._holds = Holds()
        self._promises = Promises()
        self._waiting: Batch[str, bool] = Batch("waiting", self._ask_who_waits, rows=ROWS)
        self.lanes = (self._waiting,)

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
        self._feed_all(self._servers_of(offers))

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
        self._feed_all(self._servers_of([offer for offer, _ in stored]))
        if strays:
            gone = [offer for offer, ticket in stored if ticket.id in strays]
            await self._return(list(strays.values()), gone)
        return [offer.visit is not None and ticket.id not in strays for offer, ticket in stored]

    async def _return(self, strays: Sequence[Pushed], offers: Sequence[Offer]) -> None:
        """Put back what no phone was given, now or (then the agent hears 503) when the database
        is there again; until then the phones' promises stand, and hold newer tickets back."""
        try:
            await self._note_ends(strays)
        except Unavailable:
            self._spawn("putting tickets back", self._return_later(strays, offers))
            raise
        self._promises.take_back(offers)

    async def _return_later(self, strays: Sequence[Pushed], offers: Sequence[Offer]) -> None:
        try:
            await self._put_back(strays)
        finally:
            self._promises.take_back(offers)

    def _takes_now(self, visit: Visit, key: str) -> bool:
        return not (
            self._closing
            or visit.org_id in self._holds
            or not visit.takes_now
            or self._promises.somebody_queues_for(visit)
            or self._pacing.paces(visit, key)
        )

    def _note_queued(self, offer: Offer) -> None:
        visit = self._roster.first(offer.org_id, offer.key)
        if visit is not None:
            visit.laden = True
            self.expect({visit})

    def _servers_of(self, offers: Sequence[Offer]) -> set[Visit]:
        """The phones that may have to be fed after these offers have ended."""
        serving = {offer.visit or self._roster.first(offer.org_id, offer.key) for offer in offers}
        return {visit for visit in serving if visit is not None}

    # -- what waits ----------------------------------------------------------------------------

    def expect(self, visits: set[Visit]) -> None:
        """What waits in the table for these phones comes before any new ticket, from now on."""
        for visit in visits:
            visit.backlog = True
            visit.queued += 1

    def wake(self, visits: set[Visit]) -> None:
        """These phones may serve what they did not serve before."""
        self.expect(visits)
        self._feed_all(visits)

    def feed(self, visit: Visit) -> None:
        """Give the phone what waits for it, if it has places."""
        if visit.feeding or self._closing or visit.promised or self._holds.blocks(visit):
            return
        if (visit.backlog or self._resumption.is_due(visit)) and visit.places > 0:
            visit.feeding = True
            self._spawn("feeding a phone", self._feed(visit))

    def enqueued(self, org_id: str, key: str) -> None:
        """A ticket waits in this queue that did not before."""
        serving = self._roster.first(org_id, key)
        self.wake({serving} if serving else set())

    def tick(self) -> None:
        """Places that were given up by time may be taken; the net under every wake-up."""
        self._feed_all(set(self._roster))

    async def poll(self) -> None:
        """Look for what waits: tickets that another node queued, or that a wake-up missed."""
        idle = {v.org_id for v in self._roster if not v.backlog}
        if idle:
            for org_id in await messages.waiting_orgs(self._database, sorted(idle)):
                self.look_again(org_id)

    def look_again(self, org_id: str) -> None:
        """Something may wait for the phones of this org, and be paced otherwise than before."""
        visits = set(self._roster.of(org_id))
        for visit in visits:
            self._pacing.look_again(visit)
        self.wake(visits)

    def reported(self, visit: Visit) -> None:
        """The phone has said which SIMs it holds."""
        self._pacing.said(visit)

    async def _feed(self, visit: Visit) -> None:
        try:
            looked = -1
            # Once more where something came up while we looked.
            while visit.queued != looked or self._resumption.is_due(visit):
                if self._closing or not visit.places:
                    return
                looked = visit.queued
                await self._push_again(visit)
                if visit.backlog and (visit.laden or await self._anything_waits(visit)):
                    await self._claim_all(visit)
        except Unavailable:
            pass  # the tick tries again
        finally:
            visit.feeding = False
            self._promises.let_go(visit)

    async def _claim_all(self, visit: Visit) -> None:
        more = self._pacing.concerns(visit.org_id)
        while more and not self._closing and (places := visit.places):
            more = visit.laden = await self._claim_in_turn(visit, min(places, BITE))
        more = True
        while more and not self._closing and (places := visit.places):
            more = visit.laden = await self._claim(visit, min(places, BITE))

    async def _push_again(self, visit: Visit) -> None:
        """What goes a second time goes when it is due, and holds nobody up."""
        while self._resumption.is_due(visit) and not self._closing and (places := visit.places):
            strays = await self._resumption.push_again(visit, min(places, BITE))
            self._bell.ring(visit.org_id)
            if strays:
                await self._put_back([visit.pushed(ticket.id) for ticket in strays])

    async def _anything_waits(self, visit: Visit) -> bool:
        """Asked for all phones that arrive together in one statement. What is queued while it
        runs counts for the next look, which whoever queues it asks for."""
        seen = visit.queued
        waits = await self._waiting.put(visit.org_id, org_id=visit.org_id)
        if not waits:
            self._calm(visit, seen)
        return waits

    async def _claim(self, visit: Visit, places: int) -> bool:
        """Whether more may wait than there were places for."""
        seen = visit.queued
        serves = self._pacing.part(visit, self._roster.serves(visit)).free
        if not serves:
            self._calm(visit, seen)
            return False
        claim = messages.claim(
            self._database,
            visit.org_id,
            serves=serves,
            session_id=visit.session_id,
            phone_id=visit.phone_id,
            ledger=visit.identity.keeps_ledger,
            places=places,
        )
        tickets, ended = await surely(claim, self._database, self._patience, visit)
        more = len(tickets) + len(ended) == places
        if not more:
            self._calm(visit, seen)
        self._tell_of_refused(visit.org_id, ended)
        await self._give(visit, tickets)
        return more

    async def _claim_in_turn(self, visit: Visit, places: int) -> bool:
        """The same of paced SIMs; of those that may send no more for now the wheel will tell."""
        parted = self._pacing.part(visit, self._roster.serves(visit))
        if not parted.paced:
            return False
        claim = self._pacing.claim(visit, parted, places)
        tickets, ended = await surely(
            claim.run(self._database), self._database, self._patience, visit
        )
        self._pacing.claimed(visit, claim)
        self._tell_of_refused(visit.org_id, ended)
        await self._give(visit, tickets)
        # One that was refused has given its turn to another.
        return bool(ended) or len(tickets) == places

    def _tell_of_refused(self, org_id: str, ids: Sequence[int]) -> None:
        for id_ in ids:
            self._log.info(
                "ticket {org}/{ticket} failed: {error}", org=org_id, ticket=id_, error="opted_out"
            )

    async def _give(self, visit: Visit, tickets: list[Ticket]) -> None:
        """Push what was claimed, or put it back where the phone has left meanwhile."""
        self._bell.ring(visit.org_id)
        if visit.on_line:
            visit.give(tickets)
        elif tickets:
            await self._put_back([visit.pushed(ticket.id) for ticket in tickets])

    def _calm(self, visit: Visit, seen: int) -> None:
        """Nothing waits, unless something was queued since we looked."""
        if visit.queued == seen and not self._promises.somebody_queues_for(visit):
            visit.backlog = False

    async def _ask_who_waits(self, org_ids: Sequence[str]) -> list[bool]:
        waiting = set(await messages.waiting_orgs(self._database, sorted(set(org_ids))))
        return [org_id in waiting for org_id in org_ids]

    def _feed_all(self, visits: set[Visit]) -> None:
        for visit in visits:
            self.feed(visit)

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
        self.wake(heirs | blocked)

    async def _write_down(self, visit: Visit) -> None:
        if waits := self._resumption.left(visit):
            await self._patience.insist(lambda: self._resumption.note(waits))
        if pushes := visit.unsettled():
            await self._put_back(pushes)
        await self._promises.kept(visit)

    async def resume(self, visit: Visit) -> None:
        """The phone is on line, or has said more of itself: what was it given before?"""
        if not self._closing:
            await self._patience.insist(lambda: self._resumption.look(visit))
            self.feed(visit)

    def answered(self, visit: Visit, ticket_id: int) -> None:
        """The phone said what became of a ticket."""
        self._resumption.answered(visit, ticket_id)

    def dropped(self, org_id: str, ticket_id: int) -> None:
        """The phone did not send the ticket, for its time was over: that is written down."""
        if self._pacing.concerns(org_id):
            self._spawn("giving back what was not sent", self._give_back(org_id, ticket_id))

    async def _give_back(self, org_id: str, ticket_id: int) -> None:
        if await self._patience.insist(lambda: pacing.give_back(self._database, org_id, ticket_id)):
            self.look_again(org_id)

    async def _put_back(self, pushes: Sequence[Pushed]) -> None:
        await self._patience.insist(lambda: self._note_ends(pushes))

    async def _note_ends(self, pushes: Sequence[Pushed]) -> None:
        for org_id, id_, status, key in await messages.end_pushes(self._database, pushes):
            if status == "queued":
                self._bell.ring(org_id)
                self._log.debug("ticket {org}/{ticket} waits again", org=org_id, ticket=id_)
                self.enqueued(org_id, key)

    async def note_receipts(self) -> None:
        """Write down what phones that are still on line have read and not answered: when that is
        given up, it counts."""
        pushes = [push for visit in self._roster for push in visit.unsettled(receipted=True)]
        if pushes:
            await self._note_ends(pushes)

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
            self.wake(visits)

    def close(self) -> None:
        """No new pushes from now on: the gateway is shutting down."""
        self._closing = True
        self._pacing.close()
