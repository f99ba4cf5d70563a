"""Accept tickets: store what an agent hands in, then hand it over.

What a call becomes in the table is `smsd.gateway.call`'s, how it is stored together with others
`smsd.gateway.ticket_lane`'s, and what is asked of it later `smsd.gateway.archive`'s.

An agent hears 503 where nobody knows whether its tickets are stored; when that is known they are
handed over like any others, and until then their places stay promised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from smsd.domain.call_key import CallKey
from smsd.domain.errors import Invalid, Unavailable
from smsd.domain.records import Draft, Wish
from smsd.domain.timing import timing, untimely
from smsd.gateway.accepted import Accepted, AcceptedTicket, failed, foretold, not_before
from smsd.gateway.bell import Bell
from smsd.gateway.budgets import Budgets
from smsd.gateway.call import Call, ticket_of
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller
from smsd.gateway.once import Once
from smsd.gateway.outlook import Forecast, Prospects
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.promises import Offer
from smsd.gateway.quotas import Quotas
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.gateway.ticket_lane import Answer, Stored, TicketLane
from smsd.store import opt_outs
from smsd.store.call_keys import Earlier
from smsd.store.database import Database
from smsd.store.messages import NewMessage
from smsd.store.waiter import NotYetKnown


class Outbox:
    """Takes what agents want to be sent; returns after the commit.

    ``time_of_day`` is in seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        roster: Roster,
        dispatch: Dispatch,
        spawn: Spawn,
        patience: Patience,
        quotas: Quotas,
        bell: Bell,
        pacing: Pacing,
        *,
        time_of_day: Callable[[], float],
    ) -> None:
        self._database = database
        self._bell = bell
        self._pacing = pacing
        self._roster = roster
        self._dispatch = dispatch
        self._spawn = spawn
        self._patience = patience
        self._quotas = quotas
        self._budgets = Budgets(database)
        self._once = Once(database)
        self._time_of_day = time_of_day
        self._prospects = Prospects(database, roster, dispatch, quotas, pacing, time_of_day)
        self._lane = TicketLane(database, dispatch, patience, bell, time_of_day)
        self.lanes = self._lane.lanes
        #: Tickets that were committed.
        self.accepted = 0

    async def accept(
        self,
        caller: Caller,
        drafts: Sequence[Draft],
        *,
        lone: bool = False,
        ahead: bool = False,
        key: CallKey | None = None,
    ) -> Accepted:
        """Store the drafts as tickets and push those whose turn it is (contract section 2).

        All of them, or none: raises `Invalid` where the time of one cannot be, and what
        `Quotas.sending` and, where the caller has a key, `Budgets.sending` do. ``lone``: they are
        not a list. ``ahead``: the answer also tells who takes each, or what it waits for.
        ``key``: see `accept_once`, which whoever has one calls.
        """
        if caller.key is None:
            return await self._admit(caller.org_id, drafts, lone, ahead, key)
        async with self._budgets.sending(caller.key, drafts, lone=lone):
            whose = caller.key.id
            return await self._admit(caller.org_id, drafts, lone, ahead, key, whose)

    async def _admit(
        self,
        org_id: str,
        drafts: Sequence[Draft],
        lone: bool,
        ahead: bool,
        key: CallKey | None,
        whose: str | None = None,
    ) -> Accepted:
        if faults := untimely(drafts, self._time_of_day(), lone=lone):
            raise Invalid(errors=faults)
        call = Call(org_id, drafts, [Wish.of(draft.sim) for draft in drafts], key, whose)
        allowed = self._quotas.of(org_id)
        if allowed is None:
            return await self._accept(call, ahead)
        with await self._quotas.sending(org_id, allowed, drafts, lone=lone):
            return await self._accept(call, ahead)

    async def accept_once(
        self,
        caller: Caller,
        drafts: Sequence[Draft],
        key: CallKey,
        *,
        lone: bool = False,
        ahead: bool = False,
    ) -> Accepted:
        """As `accept`, but where a call was carried out under this key its tickets are the answer.

        Raises `Invalid` where that was another call. What was refused is not remembered.
        """
        accepted: list[Accepted] = []

        async def first() -> None:
            accepted.append(await self.accept(caller, drafts, lone=lone, ahead=ahead, key=key))

        earlier = await self._once.run(caller.org_id, key, first)
        return accepted[0] if earlier is None else self._again(caller.org_id, drafts, earlier)

    def _again(self, org_id: str, drafts: Sequence[Draft], earlier: Earlier) -> Accepted:
        told = zip(earlier.ids, drafts, earlier.statuses, strict=True)
        online = any(self._roster.first(org_id, Wish.of(draft.sim).key) for draft in drafts)
        results = [AcceptedTicket(id_, draft.to, status) for id_, draft, status in told]
        if earlier.refused:
            results = [failed(one) if one.id in earlier.refused else one for one in results]
        return Accepted(online, results, replayed=True)

    async def forecast(
        self, caller: Caller, drafts: Sequence[Draft], *, lone: bool = False
    ) -> Forecast:
        """What would become of the drafts now; raises `Invalid` as `accept` does."""
        if caller.key is not None:
            await self._budgets.foresee(caller.key, drafts, lone=lone)
        return await self._prospects.of(caller, drafts, lone=lone)

    async def _accept(self, call: Call, ahead: bool) -> Accepted:
        org_id, drafts = call.org_id, call.drafts
        online = any(self._roster.first(org_id, wish.key) for wish in call.wishes)
        delays = await self._delays(call) if self._pacing.concerns(org_id) else None
        try:
            stored = await self._lane.store(call)
        except NotYetKnown as doubt:
            self._spawn("handing over what was in doubt", self._hand_over_late(doubt.truth, call))
            raise
        except BaseException:
            self._dispatch.withdraw(call.offers)
            raise
        self.accepted += len(stored.ids)
        if stored.refused or self._may_refuse(call):
            stored = await self._refused(stored, call)
        given = await self._hand_over_rest(stored, call)
        results = [
            AcceptedTicket(id_, draft.to, "sending" if pushed else "queued")
            for id_, draft, pushed in zip(stored.ids, drafts, given, strict=True)
        ]
        if stored.refused:
            results = [failed(one) if one.id in stored.refused else one for one in results]
        if delays is not None:
            results = list(map(not_before, results, delays))
        if ahead:
            results = foretold(results, call, given, self._prospects)
        return Accepted(online, results)

    async def _delays(self, call: Call) -> list[float | None] | None:
        now = self._time_of_day()
        times = [timing(draft, now).send_at for draft in call.drafts]
        return await self._pacing.delays(call.org_id, call.drafts, call.wishes, times)

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._lane.drained()

    async def _hand_over(
        self, stored: Stored, rows: list[NewMessage], offers: list[Offer]
    ) -> list[bool]:
        made = [ticket_of(row, id_) for row, id_ in zip(rows, stored.ids, strict=True)]
        return await self._dispatch.hand_over(list(zip(offers, made, strict=True)))

    async def _hand_over_late(self, truth: Deferred[list[Answer]], call: Call) -> None:
        (stored,) = await truth or [None]
        if stored is None:
            self._dispatch.withdraw(call.offers)
            return
        self.accepted += len(stored.ids)
        if self._may_refuse(call):
            known = stored
            stored = await self._patience.insist(lambda: self._look_for_refused(known, call))
        await self._hand_over_rest(stored, call)

    async def _hand_over_rest(self, stored: Stored, call: Call) -> list[bool]:
        """Hand over all but those that nobody may push; whether each was given to a session."""
        gone = stored.gone | stored.refused
        if not gone:
            return await self._hand_over(stored, call.rows, call.offers)
        there = [at for at, id_ in enumerate(stored.ids) if id_ not in gone]
        each = zip(stored.ids, call.offers, strict=True)
        self._dispatch.withdraw([offer for id_, offer in each if id_ in gone])
        given = await self._hand_over(
            Stored([stored.ids[at] for at in there]),
            [call.rows[at] for at in there],
            [call.offers[at] for at in there],
        )
        pushed = {stored.ids[at] for at, yes in zip(there, given, strict=True) if yes}
        return [id_ in pushed for id_ in stored.ids]

    # -- numbers that have opted out -----------------------------------------------------------

    def _may_refuse(self, call: Call) -> bool:
        """Whether a STOP may have been stored between this call's snapshot and its commit."""
        return self._quotas.opts_out(call.org_id)

    async def _refused(self, stored: Stored, call: Call) -> Stored:
        try:
            return await self._look_for_refused(stored, call)
        except Unavailable:
            known: Deferred[list[Answer]] = Deferred()
            known.callback([stored])
            self.accepted -= len(stored.ids)
            self._spawn("handing over what was stored", self._hand_over_late(known, call))
            raise

    async def _look_for_refused(self, stored: Stored, call: Call) -> Stored:
        each = zip(stored.ids, call.offers, strict=True)
        given = [id_ for id_, offer in each if offer.visit and id_ not in stored.gone]
        org_id = call.org_id
        refused = await opt_outs.refuse_given(self._database, org_id, stored.ids, given=given)
        if refused:
            self._bell.ring(call.org_id)
        return stored._replace(refused=refused)
