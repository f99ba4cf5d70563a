"""What a ticket may expect: the phone and SIM that take it, or what it waits for.

A dry run asks for places as tickets do and gives them back in the same turn, so it cannot tell
anything else than what would happen, and nobody notices it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from smsd.domain.records import Draft, Wish
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller
from smsd.gateway.promises import Offer
from smsd.gateway.quotas import Quotas
from smsd.gateway.roster import Roster
from smsd.gateway.visit import Visit


class PhoneAndSim(Struct, frozen=True, kw_only=True):
    """A phone with the SIM that it sends with, as far as they are known. Where no phone that fits
    is on line (`online` is false): the SIM that was asked for."""

    online: bool
    device_id: str | None = None
    sim_slot: int | None = None
    sim_number: str | None = None


class Outlook(Struct, frozen=True):
    """One of the two is there."""

    taken_by: PhoneAndSim | None = None
    waiting_for: PhoneAndSim | None = None


class Forecast(Struct, frozen=True):
    """What would become of drafts, in their order."""

    device_online: bool
    outlooks: list[Outlook]


class Prospects:
    """Looks ahead; stores nothing and pushes nothing."""

    def __init__(self, roster: Roster, dispatch: Dispatch, quotas: Quotas) -> None:
        self._roster = roster
        self._dispatch = dispatch
        self._quotas = quotas

    def of(self, caller: Caller, drafts: Sequence[Draft], *, lone: bool = False) -> Forecast:
        """What would become of these now. Raises `Invalid` where the org may not send to them;
        what it may send a minute, and how many may wait, is not asked."""
        org_id = caller.org_id
        if allowed := self._quotas.of(org_id):
            self._quotas.direct(allowed, drafts, lone=lone)
        wishes = [Wish.of(draft.sim) for draft in drafts]
        offers = [self._dispatch.offer(org_id, wish) for wish in wishes]
        try:
            outlooks = [self.outlook(*each) for each in zip(wishes, offers, strict=True)]
        finally:
            self._dispatch.withdraw(offers)
        online = any(self._roster.first(org_id, wish.key) for wish in wishes)
        return Forecast(online, outlooks)

    def outlook(self, wish: Wish, offer: Offer, *, given: bool = True) -> Outlook:
        """Of a ticket with this offer; not ``given``: its phone left before it was there."""
        if offer.visit is not None and given:
            return Outlook(taken_by=_serving(offer.visit, wish))
        visit = self._roster.first(offer.org_id, wish.key)
        if visit is not None:
            return Outlook(waiting_for=_serving(visit, wish))
        asked = PhoneAndSim(online=False, sim_slot=wish.slot, sim_number=wish.number)
        return Outlook(waiting_for=asked)


def _serving(visit: Visit, wish: Wish) -> PhoneAndSim:
    served = visit.serving(wish.key)
    return PhoneAndSim(
        online=True,
        device_id=visit.identity.device_id,
        sim_slot=wish.slot if served.sim_slot is None else served.sim_slot,
        sim_number=served.sim_number or wish.number,
    )
