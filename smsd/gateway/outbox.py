"""Accept tickets, and look messages up.

An agent hears 503 where nobody knows whether its tickets are stored; when that is known they are
handed over like any others, and until then their places stay promised.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unauthorised
from smsd.domain.numbers import address_key, clean, digits
from smsd.domain.query import MessageQuery
from smsd.domain.records import Draft, Ticket, Wish, new_ref
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller
from smsd.gateway.inbox import ROW, numbered
from smsd.gateway.patience import Patience
from smsd.gateway.promises import Offer
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.store import messages
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import NewMessage
from smsd.store.waiter import Certainty, NotYetKnown

Ids = list[int] | None


class AcceptedTicket(Struct, frozen=True):
    """A ticket as the reply tells of it; ``status`` is what is true at the reply."""

    id: int
    to: str
    status: str


class Accepted(Struct, frozen=True):
    """Tickets that are committed."""

    device_online: bool
    results: list[AcceptedTicket]


class Outbox:
    """Takes what agents want to be sent; returns after the commit."""

    def __init__(
        self,
        database: Database,
        roster: Roster,
        dispatch: Dispatch,
        spawn: Spawn,
        patience: Patience,
    ) -> None:
        self._database = database
        self._roster = roster
        self._dispatch = dispatch
        self._spawn = spawn
        self._lane: Batch[list[NewMessage], Ids] = Batch(
            "tickets", self._write, certainty=Certainty(self._recall, patience)
        )

    async def accept(self, caller: Caller, drafts: Sequence[Draft]) -> Accepted:
        """Store the drafts as tickets and push those whose turn it is (contract section 2)."""
        org_id = caller.org_id
        wishes = [Wish.of(draft.sim) for draft in drafts]
        online = any(self._roster.first(org_id, wish.key) is not None for wish in wishes)
        offers = [self._dispatch.offer(org_id, wish) for wish in wishes]
        rows = [_row(org_id, *drafted) for drafted in zip(drafts, wishes, offers, strict=True)]
        try:
            ids = await self._store(org_id, rows)
        except NotYetKnown as doubt:
            late = self._hand_over_late(doubt.truth, rows, offers)
            self._spawn("handing over what was in doubt", late)
            raise
        except BaseException:
            self._dispatch.withdraw(offers)
            raise
        given = await self._hand_over(ids, rows, offers)
        return Accepted(
            online,
            [
                AcceptedTicket(id_, draft.to, "sending" if pushed else "queued")
                for id_, draft, pushed in zip(ids, drafts, given, strict=True)
            ],
        )

    async def messages(self, caller: Caller, query: MessageQuery) -> bytes:
        """The JSON answer of ``GET /messages``."""
        return await messages.read(self._database, caller.org_id, query)

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._lane.drained()

    async def _store(self, org_id: str, rows: list[NewMessage]) -> list[int]:
        size = sum(len(row.body) + ROW for row in rows)
        ids = await self._lane.put(rows, org_id=org_id, rows=len(rows), size=size)
        if ids is None:  # the org was deleted between its recognition and now
            raise Unauthorised()
        return ids

    async def _hand_over(
        self, ids: list[int], rows: list[NewMessage], offers: list[Offer]
    ) -> list[bool]:
        tickets = [_ticket(row, id_) for row, id_ in zip(rows, ids, strict=True)]
        return await self._dispatch.hand_over(list(zip(offers, tickets, strict=True)))

    async def _hand_over_late(
        self, truth: Deferred[list[Ids]], rows: list[NewMessage], offers: list[Offer]
    ) -> None:
        (ids,) = await truth or [None]
        if ids is None:
            self._dispatch.withdraw(offers)
        else:
            await self._hand_over(ids, rows, offers)

    async def _write(self, entries: Sequence[list[NewMessage]]) -> list[Ids]:
        return _ids(entries, await messages.append(self._database, numbered(entries)))

    async def _recall(self, entries: Sequence[list[NewMessage]], batch_id: str) -> list[Ids] | None:
        ids = await messages.appended(self._database, numbered(entries), batch_id)
        return None if ids is None else _ids(entries, ids)


def _ids(entries: Sequence[list[NewMessage]], ids: dict[int, int]) -> list[Ids]:
    """Of each entry; None where its org does not exist."""
    return [
        [ids[row.ord] for row in entry] if all(row.ord in ids for row in entry) else None
        for entry in entries
    ]


def _row(org_id: str, draft: Draft, wish: Wish, offer: Offer) -> NewMessage:
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


def _ticket(row: NewMessage, id_: int) -> Ticket:
    return Ticket(
        org_id=row.org_id,
        id=id_,
        to=row.address,
        body=row.body,
        sim=row.sim_asked,
        ref=row.ref or "",
        attempt=1,
    )
