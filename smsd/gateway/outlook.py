"""What a ticket may expect: the phone and SIM that take it, or what it waits for.

A dry run asks for places as tickets do and gives them back in the same turn, so it cannot tell
anything else than what would happen, and nobody notices it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from smsd.domain import moments
from smsd.domain.errors import Invalid
from smsd.domain.numbers import address_key, clean, digits
from smsd.domain.opt_outs import OPTED_OUT
from smsd.domain.records import Draft, Wish
from smsd.domain.timing import timing, untimely
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller
from smsd.gateway.pacing import Pacing
from smsd.gateway.promises import Offer
from smsd.gateway.quotas import Quotas
from smsd.gateway.roster import Roster
from smsd.gateway.visit import Visit
from smsd.store import opt_outs
from smsd.store.database import Database
from smsd.store.opt_outs import Meant


class PhoneAndSim(Struct, frozen=True, kw_only=True):
    """A phone with the SIM that it sends with, as far as they are known. Where no phone that fits
    is on line (`online` is false): the SIM that was asked for."""

    online: bool
    device_id: str | None = None
    sim_slot: int | None = None
    sim_number: str | None = None


class Outlook(Struct, frozen=True):
    """One of the first two is there. ``not_before``: until then it waits in any case (RFC 3339).
    Where there is an ``error`` it would fail with that, and there is nothing else."""

    taken_by: PhoneAndSim | None = None
    waiting_for: PhoneAndSim | None = None
    not_before: str | None = None
    error: str | None = None


#: Of a ticket to a number that has opted out.
REFUSED = Outlook(error=OPTED_OUT)


class Forecast(Struct, frozen=True):
    """What would become of drafts, in their order."""

    device_online: bool
    outlooks: list[Outlook]


class Prospects:
    """Looks ahead; stores nothing and pushes nothing."""

    def __init__(
        self,
        database: Database,
        roster: Roster,
        dispatch: Dispatch,
        quotas: Quotas,
        pacing: Pacing,
        time_of_day: Callable[[], float],
    ) -> None:
        self._database = database
        self._roster = roster
        self._pacing = pacing
        self._dispatch = dispatch
        self._quotas = quotas
        self._time_of_day = time_of_day

    async def of(self, caller: Caller, drafts: Sequence[Draft], *, lone: bool = False) -> Forecast:
        """What would become of these now. Raises `Invalid` where the org may not send to them, or
        the time of one cannot be; what it may send a minute, and how many may wait, is not
        asked."""
        org_id, now = caller.org_id, self._time_of_day()
        if faults := untimely(drafts, now, lone=lone):
            raise Invalid(errors=faults)
        if allowed := self._quotas.of(org_id):
            self._quotas.direct(allowed, drafts, lone=lone)
        wishes = [Wish.of(draft.sim) for draft in drafts]
        times = [timing(draft, now).send_at for draft in drafts]
        delays = await self._pacing.delays(org_id, drafts, wishes, times)
        each = zip(wishes, times, strict=True)
        offers = [self._dispatch.offer(org_id, w, later=at is not None) for w, at in each]
        try:
            outlooks = list(map(self.outlook, wishes, offers, times))
            if delays is not None:
                outlooks = list(map(delayed, outlooks, delays))
        finally:
            self._dispatch.withdraw(offers)
        if self._quotas.opts_out(org_id):
            outlooks = await self._without_refused(org_id, drafts, outlooks)
        online = any(self._roster.first(org_id, wish.key) for wish in wishes)
        return Forecast(online, outlooks)

    async def _without_refused(
        self, org_id: str, drafts: Sequence[Draft], outlooks: list[Outlook]
    ) -> list[Outlook]:
        meant = list(map(_meant, drafts, outlooks))
        refused = await opt_outs.would_refuse(self._database, org_id, meant)
        return [REFUSED if at in refused else one for at, one in enumerate(outlooks)]

    def outlook(self, wish: Wish, offer: Offer, at: int | None, *, given: bool = True) -> Outlook:
        """Of a ticket with this offer that is sent ``at`` this time, in Unix milliseconds, or at
        once (None); not ``given``: its phone left before it was there."""
        not_before = None if at is None else moments.at(at / 1000)
        if offer.visit is not None and given:
            return Outlook(taken_by=_serving(offer.visit, wish))
        visit = self._roster.first(offer.org_id, wish.key)
        if visit is not None:
            return Outlook(waiting_for=_serving(visit, wish), not_before=not_before)
        asked = PhoneAndSim(online=False, sim_slot=wish.slot, sim_number=wish.number)
        return Outlook(waiting_for=asked, not_before=not_before)


def delayed(outlook: Outlook, seconds: float | None) -> Outlook:
    """The same where its SIM may not send it before then (seconds since 1970), if it has to wait
    for that."""
    return outlook if seconds is None else replace(outlook, not_before=moments.at(seconds))


def _meant(draft: Draft, outlook: Outlook) -> Meant:
    phone = outlook.taken_by or outlook.waiting_for or PhoneAndSim(online=False)
    return Meant(address_key(clean(draft.to)), digits(phone.sim_number or "") or None, phone.online)


def _serving(visit: Visit, wish: Wish) -> PhoneAndSim:
    served = visit.serving(wish.key)
    return PhoneAndSim(
        online=True,
        device_id=visit.identity.device_id,
        sim_slot=wish.slot if served.sim_slot is None else served.sim_slot,
        sim_number=served.sim_number or wish.number,
    )
