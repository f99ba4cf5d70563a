"""Which SIMs are paced, and what that means for the tickets of an org.

A SIM keeps to all that holds for it: what its org has set (for its number, else its slot, else for
every SIM), and what its phone says. Tickets for it take one road only: they are stored as waiting,
and claimed in turn (`smsd.store.pacing`). One whose SIM the phone chooses counts at each that it
may be. An org without any of this costs a look into two sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET

from smsd.domain.allowance import Own
from smsd.domain.numbers import digits
from smsd.domain.pacing import Meter, Pace, Span
from smsd.domain.records import Draft, Sim, Wish
from smsd.domain.segments import cut
from smsd.gateway.allowances import Allowances
from smsd.gateway.roster import Roster
from smsd.gateway.visit import Visit
from smsd.gateway.wheel import Wheel
from smsd.store import pacing
from smsd.store.database import Database
from smsd.store.messages import Served
from smsd.store.pacing import Claim, PacedQueue

#: Where phones are paced, one that has not said which SIMs it holds is given nothing for so long.
#: Seconds.
WITHIN = 5.0
NOTHING = Own()


class Parted(NamedTuple):
    """The queues that a phone serves: those that are claimed at once, and those in turn."""

    free: list[Served]
    paced: list[PacedQueue]
    sims: dict[str, tuple[Span, ...]]


class Pacing:
    """``feeds`` says who is told when a phone may be given something again."""

    def __init__(
        self, database: Database, allowances: Allowances, roster: Roster, reactor: Any
    ) -> None:
        self._database = database
        self._allowances = allowances
        self._roster = roster
        self._wheel: Wheel[Visit] = Wheel(reactor, self._open)
        self._wake: Callable[[set[Visit]], None] = set.clear
        #: Orgs of which a phone here said how fast it may.
        self._said: set[str] = set()
        #: Until when queues of a phone are closed, by its clock.
        self._closed: dict[Visit, dict[str, float]] = {}

    def feeds(self, wake: Callable[[set[Visit]], None]) -> None:
        """Phones that may be given something again are fed by this."""
        self._wake = wake

    # -- what is paced -------------------------------------------------------------------------

    def concerns(self, org_id: str) -> bool:
        """Whether some SIM of this org may be paced."""
        return org_id in self._said or self._allowances.paced(org_id) is not None

    def paces(self, visit: Visit, key: str) -> bool:
        """Whether this phone's tickets of this queue are claimed in turn."""
        if not self.concerns(visit.org_id):
            return False
        return self._awaits_sims(visit) or bool(self.sims_of(visit, key))

    def sims_of(self, visit: Visit, key: str) -> dict[str, tuple[Span, ...]]:
        """The paced SIMs that a ticket of this queue may be sent with, by key."""
        if not visit.sims:
            return self._sim_unknown(visit)
        fits = {visit.sim_key(sim): self._spans(visit.org_id, sim) for sim in visit.fitting(key)}
        return {key: spans for key, spans in fits.items() if spans}

    def said(self, visit: Visit) -> None:
        """The phone has said which SIMs it holds."""
        if any(sim.pace for sim in visit.sims if sim.pace is not UNSET):
            self._said.add(visit.org_id)
        self.look_again(visit)

    def _spans(self, org_id: str, sim: Sim) -> tuple[Span, ...]:
        own = spans(self._allowances.paced(org_id), sim.slot, digits(sim.number or ""))
        return own + sim.pace.spans if sim.pace else own

    def _sim_unknown(self, visit: Visit) -> dict[str, tuple[Span, ...]]:
        own = spans(self._allowances.paced(visit.org_id), None, "")
        return {f"{visit.identity.device_id or '?'}:?": own} if own else {}

    def _awaits_sims(self, visit: Visit) -> bool:
        return not visit.sims and visit.clock() < visit.since + WITHIN

    # -- claims --------------------------------------------------------------------------------

    def part(self, visit: Visit, serves: list[Served]) -> Parted:
        """How what the phone serves is to be claimed; what is closed is in neither part."""
        if not self.concerns(visit.org_id):
            return Parted(serves, [], {})
        if self._awaits_sims(visit):
            self._wheel.after(visit.since + WITHIN - visit.clock(), visit)
            return Parted([], [], {})
        parted, closed = Parted([], [], {}), self._closed.get(visit, {})
        for served in serves:
            sims = self.sims_of(visit, served.sim_key)
            if not sims:
                parted.free.append(served)
            elif closed.get(served.sim_key, 0.0) <= visit.clock():
                parted.paced.append(PacedQueue(served, tuple(sims)))
                parted.sims.update(sims)
        return parted

    def claim(self, visit: Visit, parted: Parted, places: int) -> Claim:
        """What is to be claimed in turn."""
        return Claim(
            visit.org_id,
            parted.paced,
            parted.sims,
            visit.session_id,
            visit.phone_id,
            visit.identity.keeps_ledger,
            places,
        )

    def claimed(self, visit: Visit, claim: Claim) -> None:
        """Remember which queues are closed, and look again when the first of them opens."""
        if not claim.opens_in or not visit.on_line:
            return
        now, before = visit.clock(), self._closed.get(visit, {})
        closed = {queue: at for queue, at in before.items() if at > now}
        closed.update({queue: now + wait for queue, wait in claim.opens_in.items()})
        self._closed[visit] = closed
        self._wheel.after(min(closed.values()) - now, visit)

    def held_back(self) -> set[tuple[str, str]]:
        """The queues, by org and key, of which a phone here may be given nothing yet."""
        return {
            (visit.org_id, queue)
            for visit, closed in self._closed.items()
            for queue, at in closed.items()
            if at > visit.clock()
        }

    def look_again(self, visit: Visit) -> None:
        """Something has changed: what was closed may be open."""
        self._closed.pop(visit, None)
        self._wheel.drop(visit)

    def left(self, visit: Visit) -> None:
        """The phone is gone."""
        self.look_again(visit)

    def close(self) -> None:
        """Nothing is looked at any more: the gateway is shutting down."""
        self._wheel.stop()

    def _open(self, visit: Visit) -> None:
        if visit.on_line:
            self._wake({visit})

    # -- what is told --------------------------------------------------------------------------

    async def delays(
        self,
        org_id: str,
        drafts: Sequence[Draft],
        wishes: Sequence[Wish],
        times: Sequence[int | None],
    ) -> list[float | None] | None:
        """For each of these in turn, before when its SIM may not send it, where it has to wait;
        seconds since 1970. None: nothing is paced. What waits already, phones of other nodes, and
        drafts that have a time of their own (``times``) are not asked."""
        if not self.concerns(org_id):
            return None
        served = [
            self._served(org_id, wish.key) if at is None else {}
            for wish, at in zip(wishes, times, strict=True)
        ]
        sims = {key: spans for one in served for key, spans in one.items()}
        if not sims:
            return None
        found = await pacing.metered(self._database, org_id, sims)
        return [
            _delay(draft, [found.meters[sim] for sim in one], found.now)
            for draft, one in zip(drafts, served, strict=True)
        ]

    def _served(self, org_id: str, key: str) -> dict[str, tuple[Span, ...]]:
        visit = self._roster.first(org_id, key)
        return {} if visit is None else self.sims_of(visit, key)


def spans(own: Own | None, slot: int | None, number: str) -> tuple[Span, ...]:
    """What an org has set for a SIM: for its number, else its slot, else for every SIM."""
    paces: Mapping[str, Pace] = (own or NOTHING).paces or {}
    for key in (number, f"slot:{slot}", "*"):
        if key and key in paces:
            return paces[key].spans
    return ()


def _delay(draft: Draft, meters: Sequence[Meter], now: float) -> float | None:
    """When it may go, if not now; the meters count it."""
    segments = cut(draft.body).segments
    at = max((meter.opens(segments) for meter in meters), default=now)
    for meter in meters:
        meter.take_at(at, segments)
    return at if at > now else None
