"""Accept tickets, and look messages up.

Places are promised when a statement goes out, not when a call comes in. With 64 agents and one
phone that answers at once half of all tickets are stored as given to it, where it was one in a
hundred; the others need a second statement, which is a third of Postgres' work for a ticket.

An agent hears 503 where nobody knows whether its tickets are stored; when that is known they are
handed over like any others, and until then their places stay promised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from smsd.domain.call_key import CallKey
from smsd.domain.errors import Invalid, NotCancellable, Unauthorised, Unavailable
from smsd.domain.numbers import address_key, clean, digits
from smsd.domain.opt_outs import OPTED_OUT
from smsd.domain.query import MessageQuery
from smsd.domain.records import Draft, Ticket, Wish, new_ref
from smsd.domain.timing import Timing, timing, untimely
from smsd.gateway.bell import Bell
from smsd.gateway.budgets import Budgets
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller
from smsd.gateway.inbox import ROW, numbered
from smsd.gateway.once import Once
from smsd.gateway.outlook import Forecast, Outlook, Prospects, delayed
from smsd.gateway.pacing import Pacing
from smsd.gateway.patience import Patience
from smsd.gateway.promises import Offer
from smsd.gateway.quotas import Quotas
from smsd.gateway.recalls import Recalls
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.store import call_keys, erasure, messages, opt_outs, tickets
from smsd.store.batch import Batch
from smsd.store.call_keys import Earlier
from smsd.store.database import Database
from smsd.store.messages import NewMessage
from smsd.store.tickets import TicketSeen
from smsd.store.waiter import Certainty, NotYetKnown

#: A ticket that nobody knew of for so long may have ended before it is pushed: then it is looked
#: at once more. Sooner no timeout strikes, and an agent waits for the answer. Seconds.
LONG_AGO = 3.0


class Stored(NamedTuple):
    """The ids of a call's tickets, and which of them nobody may push any more: they have ended,
    or wait again, while nobody knew that they were there. ``refused``: those of them whose number
    has opted out."""

    ids: list[int]
    gone: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()


Answer = Stored | None


class AcceptedTicket(Struct, frozen=True):
    """A ticket as the reply tells of it; ``status`` is what is true at the reply."""

    id: int
    to: str
    status: str
    outlook: Outlook | None = None
    #: Its SIM may not send it before (RFC 3339). None: nothing of the kind is known.
    not_before: str | None = None
    #: Why it has failed; told of numbers that have opted out only.
    error: str | None = None


class Accepted(Struct, frozen=True):
    """Tickets that are committed."""

    device_online: bool
    results: list[AcceptedTicket]
    #: An earlier call stored them; their status is as it is now.
    replayed: bool = False


@dataclass(slots=True, eq=False)
class _Call:
    """What one agent hands in; the offers and the rows are made when its statement goes out."""

    org_id: str
    drafts: Sequence[Draft]
    wishes: list[Wish]
    key: CallKey | None = None
    #: The API key of whoever hands it in; None: the secret.
    whose: str | None = None
    offers: list[Offer] = field(default_factory=list)
    rows: list[NewMessage] = field(default_factory=list)


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
        recalls: Recalls,
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
        self._recalls = recalls
        self._time_of_day = time_of_day
        self._prospects = Prospects(database, roster, dispatch, quotas, pacing, time_of_day)
        self._sent = 0.0
        self._lane: Batch[_Call, Answer] = Batch(
            "tickets", self._write, certainty=Certainty(self._recall, patience)
        )
        self.lanes = (self._lane,)
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
        call = _Call(org_id, drafts, [Wish.of(draft.sim) for draft in drafts], key, whose)
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
            results = [_failed(one) if one.id in earlier.refused else one for one in results]
        return Accepted(online, results, replayed=True)

    async def forecast(
        self, caller: Caller, drafts: Sequence[Draft], *, lone: bool = False
    ) -> Forecast:
        """What would become of the drafts now; raises `Invalid` as `accept` does."""
        if caller.key is not None:
            self._budgets.direct(caller.key, drafts, lone=lone)
        return await self._prospects.of(caller, drafts, lone=lone)

    async def _accept(self, call: _Call, ahead: bool) -> Accepted:
        org_id, drafts = call.org_id, call.drafts
        online = any(self._roster.first(org_id, wish.key) for wish in call.wishes)
        delays = await self._delays(call) if self._pacing.concerns(org_id) else None
        try:
            stored = await self._store(call)
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
            results = [_failed(one) if one.id in stored.refused else one for one in results]
        if delays is not None:
            results = list(map(_delayed, results, delays))
        return Accepted(online, self._with_outlooks(results, call, given) if ahead else results)

    async def _delays(self, call: _Call) -> list[float | None] | None:
        now = self._time_of_day()
        times = [timing(draft, now).send_at for draft in call.drafts]
        return await self._pacing.delays(call.org_id, call.drafts, call.wishes, times)

    def _with_outlooks(
        self, results: list[AcceptedTicket], call: _Call, given: list[bool]
    ) -> list[AcceptedTicket]:
        each = zip(results, call.wishes, call.offers, call.rows, given, strict=True)
        look = self._prospects.outlook
        return [
            one if one.error else replace(one, outlook=look(wish, offer, row.send_at, given=g))
            for one, wish, offer, row, g in each
        ]

    async def messages(self, caller: Caller, query: MessageQuery) -> bytes:
        """The JSON answer of ``GET /messages``."""
        return await messages.read(self._database, caller.org_id, query)

    async def ticket(self, caller: Caller, id_: int) -> TicketSeen | None:
        """One ticket, with its history."""
        return await tickets.read(self._database, caller.org_id, id_)

    async def cancel(self, caller: Caller, id_: int) -> TicketSeen | None:
        """Take a ticket back, as it is then; None where there is none.

        Where a phone has it, the phone is asked (see `Recalls.ask`). Raises `NotCancellable` where
        it may be at a phone or has ended. It may be repeated.
        """
        if await tickets.cancel(self._database, caller.org_id, id_):
            self._bell.ring(caller.org_id)
        seen = await self.ticket(caller, id_)
        if seen and seen.status == "sending" and await self._recalls.ask(caller.org_id, id_):
            seen = await self.ticket(caller, id_)
        if seen is not None and seen.status != "cancelled":
            raise NotCancellable(_why(seen))
        return seen

    async def forget(self, caller: Caller, address: str) -> int:
        """Delete what this address wrote and was sent; how many messages."""
        return await erasure.forget(self._database, caller.org_id, address_key(address))

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._lane.drained()

    async def _store(self, call: _Call) -> Stored:
        rows, size = len(call.drafts), sum(len(draft.body) + ROW for draft in call.drafts)
        stored = await self._lane.put(call, org_id=call.org_id, rows=rows, size=size)
        if stored is None:  # the org was deleted between its recognition and now
            raise Unauthorised()
        return stored

    async def _hand_over(
        self, stored: Stored, rows: list[NewMessage], offers: list[Offer]
    ) -> list[bool]:
        made = [_ticket(row, id_) for row, id_ in zip(rows, stored.ids, strict=True)]
        return await self._dispatch.hand_over(list(zip(offers, made, strict=True)))

    async def _hand_over_late(self, truth: Deferred[list[Answer]], call: _Call) -> None:
        (stored,) = await truth or [None]
        if stored is None:
            self._dispatch.withdraw(call.offers)
            return
        self.accepted += len(stored.ids)
        if self._may_refuse(call):
            known = stored
            stored = await self._patience.insist(lambda: self._look_for_refused(known, call))
        await self._hand_over_rest(stored, call)

    async def _hand_over_rest(self, stored: Stored, call: _Call) -> list[bool]:
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

    def _may_refuse(self, call: _Call) -> bool:
        """Whether a STOP may have been stored between this call's snapshot and its commit."""
        return self._quotas.opts_out(call.org_id)

    async def _refused(self, stored: Stored, call: _Call) -> Stored:
        try:
            return await self._look_for_refused(stored, call)
        except Unavailable:
            known: Deferred[list[Answer]] = Deferred()
            known.callback([stored])
            self.accepted -= len(stored.ids)
            self._spawn("handing over what was stored", self._hand_over_late(known, call))
            raise

    async def _look_for_refused(self, stored: Stored, call: _Call) -> Stored:
        each = zip(stored.ids, call.offers, strict=True)
        given = [id_ for id_, offer in each if offer.visit and id_ not in stored.gone]
        org_id = call.org_id
        refused = await opt_outs.refuse_given(self._database, org_id, stored.ids, given=given)
        if refused:
            self._bell.ring(call.org_id)
        return stored._replace(refused=refused)

    async def _write(self, calls: Sequence[_Call]) -> list[Answer]:
        self._sent = self._patience.now
        for call in calls:
            self._offer(call)
        entries = [call.rows for call in calls]
        ids = await messages.append(self._database, numbered(entries))
        self._bell.ring(*{call.org_id for call in calls})
        return _answers(entries, ids)

    def _offer(self, call: _Call) -> None:
        """Promise places; where the statement goes out a second time, what was promised stands."""
        if not call.offers:
            now, offer = self._time_of_day(), self._dispatch.offer
            timings = [timing(draft, now) for draft in call.drafts]
            call.offers = [
                offer(call.org_id, wish, later=timing.send_at is not None)
                for wish, timing in zip(call.wishes, timings, strict=True)
            ]
            drafted = zip(call.drafts, call.wishes, call.offers, timings, strict=True)
            call.rows = [_row(call.org_id, *each) for each in drafted]
            for row in call.rows if call.whose is not None else ():
                row.key_id = call.whose
            if call.key is not None:
                for row in call.rows:
                    row.call_key, row.fingerprint = call.key.name, call.key.fingerprint

    async def _recall(self, calls: Sequence[_Call], batch_id: str) -> list[Answer] | None:
        entries = [call.rows for call in calls]
        ids = await messages.appended(self._database, numbered(entries), batch_id)
        if ids is None:
            return None
        answers = [
            await self._if_stored(call, answer)
            for call, answer in zip(calls, _answers(entries, ids), strict=True)
        ]
        if self._patience.now - self._sent < LONG_AGO:
            return answers
        return [
            stored and Stored(stored.ids, await self._gone(rows, stored.ids))
            for rows, stored in zip(entries, answers, strict=True)
        ]

    async def _if_stored(self, call: _Call, answer: Answer) -> Answer:
        """None where another call had this one's key before."""
        if call.key is None or answer is None:
            return answer
        found = await call_keys.find(self._database, call.org_id, call.key.name)
        return answer if found is not None and found.first_id == answer.ids[0] else None

    async def _gone(self, rows: list[NewMessage], ids: list[int]) -> frozenset[int]:
        """Which of these were stored as a session's and are not so any more."""
        gone: set[int] = set()
        given: dict[str, list[int]] = {}
        for row, id_ in zip(rows, ids, strict=True):
            if row.session_id is not None:
                given.setdefault(row.session_id, []).append(id_)
        for session_id, handed in given.items():
            still, _ = await messages.still_handed(
                self._database, rows[0].org_id, session_id=session_id, ids=handed
            )
            gone |= set(handed) - {ticket.id for ticket in still}
        return frozenset(gone)


def _answers(entries: Sequence[list[NewMessage]], ids: dict[int, int]) -> list[Answer]:
    """To each entry; None where its org does not exist."""
    return [
        _stored([ids[row.ord] for row in entry]) if all(row.ord in ids for row in entry) else None
        for entry in entries
    ]


def _stored(ids: list[int]) -> Stored:
    if min(ids) > 0:
        return Stored(ids)
    return Stored([abs(id_) for id_ in ids], refused=frozenset(-id_ for id_ in ids if id_ < 0))


def _failed(ticket: AcceptedTicket) -> AcceptedTicket:
    return replace(ticket, status="failed", not_before=None, error=OPTED_OUT)


def _row(org_id: str, draft: Draft, wish: Wish, offer: Offer, timing: Timing) -> NewMessage:
    to = clean(draft.to)
    row = NewMessage(
        org_id=org_id,
        status="queued",
        direction="out",
        address=to,
        address_key=address_key(to),
        body=draft.body,
        sim_slot=wish.slot,
        sim_number=wish.number,
        sim_digits=digits(wish.number) if wish.number else None,
        sim_asked=wish.text,
        sim_key=wish.key,
        ref=new_ref(),
        rank=-(draft.priority or 0),
        send_at=timing.send_at,
        expires_at=timing.expires_at,
        ttl=timing.ttl,
        receipt=draft.receipt or None,
    )
    if offer.visit is not None:
        served = offer.visit.serving(wish.key)
        row.status, row.attempts = "sending", 1
        row.session_id, row.phone_id = offer.visit.session_id, offer.visit.phone_id
        row.ledger = offer.visit.identity.keeps_ledger
        row.sim_slot = row.sim_slot if served.sim_slot is None else served.sim_slot
        row.sim_number = served.sim_number or row.sim_number
        row.sim_digits = served.sim_digits or row.sim_digits
    return row


def _delayed(ticket: AcceptedTicket, seconds: float | None) -> AcceptedTicket:
    return replace(ticket, not_before=delayed(Outlook(), seconds).not_before)


def _ticket(row: NewMessage, id_: int) -> Ticket:
    return Ticket(
        org_id=row.org_id,
        id=id_,
        to=row.address,
        body=row.body,
        sim=row.sim_asked,
        ref=row.ref or "",
        attempt=1,
        expires_at=row.expires_at,
        receipt=row.receipt or False,
    )


def _why(seen: TicketSeen) -> str:
    if seen.status == "sending":
        return "This ticket is sending: a phone has it, and may have sent it."
    if seen.status == "queued":
        return "This ticket is queued once more: a phone had it before, and may have sent it."
    return f"This ticket has ended: it is {seen.status}."
