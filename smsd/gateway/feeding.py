"""What waits goes to the phones: the second of the two roads (`smsd.gateway.dispatch`).

A *feeding* claims for one phone the tickets that wait for it, the highest priority first and of
one priority the oldest, as long as the phone has places; one runs at a time for each. What comes
back unsent waits again.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from smsd.domain.errors import Unavailable
from smsd.domain.records import Ticket
from smsd.gateway.bell import Bell
from smsd.gateway.certainty import surely
from smsd.gateway.holds import Holds
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.promises import Promises
from smsd.gateway.resumption import Resumption
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Visit
from smsd.store import messages
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import Pushed

#: Tickets that one claim takes at most, so that no statement runs for long.
BITE = 500
#: Phones that hear in one turn of the reactor whether something waits: others live too.
ROWS = 200


class Feeding:
    """Gives phones what waits for them, within the limits of each. ``promises`` were made to new
    tickets, and ``holds`` are where some are on their way back: both go before what waits."""

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
        self._roster = roster
        self._resumption = resumption
        self._spawn = spawn
        self._patience = patience
        self._bell = bell
        self._pacing = pacing
        pacing.feeds(self.wake)
        self.promises = Promises()
        self.holds = Holds()
        self.closing = False
        self._waiting: Batch[str, bool] = Batch("waiting", self._ask_who_waits, rows=ROWS)
        self.lanes = (self._waiting,)

    def expect(self, visits: set[Visit]) -> None:
        """What waits in the table for these phones comes before any new ticket, from now on."""
        for visit in visits:
            visit.backlog = True
            visit.queued += 1

    def wake(self, visits: set[Visit]) -> None:
        """These phones may serve what they did not serve before."""
        self.expect(visits)
        self.feed_all(visits)

    def feed(self, visit: Visit) -> None:
        """Give the phone what waits for it, if it has places."""
        if visit.feeding or self.closing or visit.promised or self.holds.blocks(visit):
            return
        if (visit.backlog or self._resumption.is_due(visit)) and visit.places > 0:
            visit.feeding = True
            self._spawn("feeding a phone", self._feed(visit))

    def feed_all(self, visits: set[Visit]) -> None:
        """The same for several."""
        for visit in visits:
            self.feed(visit)

    def enqueued(self, org_id: str, key: str) -> None:
        """A ticket waits in this queue that did not before."""
        serving = self._roster.first(org_id, key)
        self.wake({serving} if serving else set())

    def tick(self) -> None:
        """Places that were given up by time may be taken; the net under every wake-up."""
        self.feed_all(set(self._roster))

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

    async def _feed(self, visit: Visit) -> None:
        try:
            looked = -1
            # Once more where something came up while we looked.
            while visit.queued != looked or self._resumption.is_due(visit):
                if self.closing or not visit.places:
                    return
                looked = visit.queued
                await self._push_again(visit)
                if visit.backlog and (visit.laden or await self._anything_waits(visit)):
                    await self._claim_all(visit)
        except Unavailable:
            pass  # the tick tries again
        finally:
            visit.feeding = False
            self.promises.let_go(visit)

    async def _claim_all(self, visit: Visit) -> None:
        more = self._pacing.concerns(visit.org_id)
        while more and not self.closing and (places := visit.places):
            more = visit.laden = await self._claim_in_turn(visit, min(places, BITE))
        more = True
        while more and not self.closing and (places := visit.places):
            more = visit.laden = await self._claim(visit, min(places, BITE))

    async def _push_again(self, visit: Visit) -> None:
        """What goes a second time goes when it is due, and holds nobody up."""
        while self._resumption.is_due(visit) and not self.closing and (places := visit.places):
            strays = await self._resumption.push_again(visit, min(places, BITE))
            self._bell.ring(visit.org_id)
            if strays:
                await self.put_back([visit.pushed(ticket.id) for ticket in strays])

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
            await self.put_back([visit.pushed(ticket.id) for ticket in tickets])

    def _calm(self, visit: Visit, seen: int) -> None:
        """Nothing waits, unless something was queued since we looked."""
        if visit.queued == seen and not self.promises.somebody_queues_for(visit):
            visit.backlog = False

    async def _ask_who_waits(self, org_ids: Sequence[str]) -> list[bool]:
        waiting = set(await messages.waiting_orgs(self._database, sorted(set(org_ids))))
        return [org_id in waiting for org_id in org_ids]

    async def put_back(self, pushes: Sequence[Pushed]) -> None:
        """These have no result, and their phone is gone: they wait again, or have failed. Returns
        when that is written down, however long the database is away."""
        await self._patience.insist(lambda: self.note_ends(pushes))

    async def note_ends(self, pushes: Sequence[Pushed]) -> None:
        """As `put_back`, but raises `Unavailable` at once."""
        for org_id, id_, status, key in await messages.end_pushes(self._database, pushes):
            if status == "queued":
                self._bell.ring(org_id)
                self._log.debug("ticket {org}/{ticket} waits again", org=org_id, ticket=id_)
                self.enqueued(org_id, key)

    def close(self) -> None:
        """No new pushes from now on: the gateway is shutting down."""
        self.closing = True
        self._pacing.close()
