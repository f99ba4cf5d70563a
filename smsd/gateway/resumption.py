"""A phone is back: what becomes of the tickets that its last session left in doubt.

The table "When the connection drops" of contract section 3, as a rule (`due_in`) and what
carries it out. A ledger phone is given every one of them again at once, for it answers instead of
sending twice. A plain phone is given again, after a grace, only those whose frame most likely
died in the connection; an SMS that it may have sent is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from smsd.domain.records import Ticket
from smsd.gateway.certainty import surely
from smsd.gateway.patience import Patience
from smsd.gateway.visit import Visit
from smsd.store import resumption
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import Handed
from smsd.store.resumption import InDoubt, Returned, Waited

UNDELIVERABLE = "The phone took it again and again and never said what became of it."
#: Phones that are told in one turn of the reactor what they are owed: others live too.
ROWS = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """``grace`` in seconds; ``max_attempts``: pushes that were receipted and not answered."""

    grace: float = 3.0
    max_attempts: int = 5


def due_in(ticket: InDoubt, keeps_ledger: bool, grace: float) -> float | None:
    """In how many seconds on line the ticket is pushed again; None: not to this phone, unasked."""
    if keeps_ledger and ticket.ledger:
        return 0.0
    if ticket.pushed and not ticket.received:
        return max(0.0, grace - ticket.waited_ms / 1000)
    return None


@dataclass(eq=False, slots=True)
class Owed:
    """A ticket in doubt that its phone is to be given again. Times are the visit's clock's."""

    ticket: InDoubt
    since: float
    due: float


@dataclass(eq=False, slots=True)
class Debt:
    """What a phone is owed, of all that its earlier sessions left in doubt; by id."""

    owed: dict[int, Owed]
    in_doubt: dict[int, InDoubt]


_NOTHING = Debt({}, {})


class Resumption:
    """Knows what each phone on line is owed."""

    _log = Logger()

    def __init__(self, database: Database, rules: Rules, patience: Patience) -> None:
        self._database = database
        self._rules = rules
        self._patience = patience
        self._debts: dict[Visit, Debt] = {}
        self._lane: Batch[Returned, list[InDoubt]] = Batch("resumption", self._find, rows=ROWS)
        self.lanes = (self._lane,)
        #: Tickets that ended because no phone ever said what became of them.
        self.undeliverable = 0

    async def look(self, visit: Visit) -> None:
        """Find what the phone is owed; many phones that return together ask in one statement."""
        phone = Returned(
            visit.org_id, visit.device_key, sorted(visit.numbers), visit.phone_id == "?"
        )
        found = await self._lane.put(phone, org_id=visit.org_id)
        if not visit.on_line:
            return
        now, before, owed = visit.clock(), self._debts.pop(visit, _NOTHING).owed, {}
        for ticket in found:
            wait = due_in(ticket, visit.identity.keeps_ledger, self._rules.grace)
            if wait is not None:
                owed[ticket.id] = before.get(ticket.id) or Owed(ticket, now, now + wait)
        if owed:
            self._debts[visit] = Debt(owed, {ticket.id: ticket for ticket in found})

    def is_due(self, visit: Visit) -> bool:
        """Whether something is to be pushed again now."""
        owed = self._debts.get(visit, _NOTHING).owed
        return any(one.due <= visit.clock() for one in owed.values())

    def answered(self, visit: Visit, ticket_id: int) -> None:
        """The phone answered a ticket: those pushed before that it was silent about never reached
        it."""
        debt = self._debts.get(visit)
        if debt is None:
            return
        debt.owed.pop(ticket_id, None)
        before, here = debt.in_doubt.get(ticket_id), visit.has(ticket_id)
        for one in debt.owed.values():
            if here or (before is not None and before.was_pushed_behind(one.ticket)):
                one.due = visit.clock()

    async def push_again(self, visit: Visit, places: int) -> list[Ticket]:
        """Push what is due, at most as many as there are places; what could not be pushed,
        because the phone left meanwhile."""
        owed = self._debts.get(visit, _NOTHING).owed
        due = [one.ticket for _, one in sorted(owed.items()) if one.due <= visit.clock()][:places]
        if not due:
            return []
        again, ended = await self._claim(visit, due)
        self.undeliverable += len(ended)
        for ticket in due:
            owed.pop(ticket.id, None)
        if not owed:
            self._debts.pop(visit, None)
        for id_ in ended:
            self._log.info(
                "ticket {org}/{ticket} failed: {error}",
                org=visit.org_id,
                ticket=id_,
                error="undeliverable",
            )
        if not visit.on_line:
            return again
        visit.tally.again += len(again)
        visit.give(again)
        return []

    def left(self, visit: Visit) -> list[Waited]:
        """The phone is gone again: the time that it was on line counts when it comes back."""
        return list(_waits(visit, self._debts.pop(visit, _NOTHING).owed.values()))

    async def note(self, waits: Sequence[Waited]) -> None:
        """Write these times down."""
        await resumption.note_waits(self._database, waits)

    async def _claim(self, visit: Visit, due: Sequence[InDoubt]) -> Handed:
        claim = resumption.push_again(
            self._database,
            visit.org_id,
            due,
            session_id=visit.session_id,
            phone_id=visit.phone_id,
            ledger=visit.identity.keeps_ledger,
            max_attempts=self._rules.max_attempts,
            detail=UNDELIVERABLE,
        )
        return await surely(claim, self._database, self._patience, visit)

    async def _find(self, phones: Sequence[Returned]) -> list[list[InDoubt]]:
        numbered = [
            Returned(p.org_id, p.device, p.numbers, p.nobody, at) for at, p in enumerate(phones)
        ]
        return await resumption.find_owed(self._database, numbered)


def _waits(visit: Visit, owed: Iterable[Owed]) -> Iterable[Waited]:
    for one in owed:
        waited = one.ticket.waited_ms + int((visit.clock() - one.since) * 1000)
        yield Waited(visit.org_id, one.ticket.id, one.ticket.session_id, waited)
