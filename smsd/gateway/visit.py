"""One stay of a phone on line: who it is, what it serves, and what was pushed to it.

The arithmetic of the two limits (contract section 3, "Handing over") lives here; who may push,
and when, is `dispatch`'s and `feeding`'s. Nothing here waits for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import UNSET

from smsd.domain.errors import Problem
from smsd.domain.numbers import digits
from smsd.domain.records import Sim, Ticket
from smsd.domain.tallies import PushTally
from smsd.store.messages import Pushed, Served
from smsd.store.phones import SessionRow, SimRow

#: A ticket unanswered for so long gives its place free. Seconds.
PATIENCE = 60.0


class Phone(Protocol):
    """What the gateway may do to a phone; the face that holds the socket implements it."""

    @property
    def writable(self) -> bool:
        """Whether the transport takes more now."""

    def push(self, tickets: Sequence[Ticket], mark: int) -> None:
        """Write these, and behind them a ping that carries ``mark``."""

    def ask_back(self, ticket_id: int) -> None:
        """Ask the phone, which keeps a ledger, for a ticket that was pushed to it."""

    def close(self, problem: Problem) -> None:
        """End the connection, and say why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a phone says it is; both options are absent from a plain phone."""

    device_id: str | None = None
    keeps_ledger: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one phone may hold: tickets without a receipt, and without a result."""

    window: int = 64
    unanswered: int = 100


@dataclass(eq=False, slots=True)
class Push:
    """A ticket that was given to a session. Times are the clock's; None: not yet."""

    ticket: Ticket
    mark: int = 0
    pushed_at: float | None = None
    received_at: float | None = None
    in_place: bool = True
    answered: bool = False


@dataclass(eq=False)
class Visit:
    """A phone on line. ``order`` is by time of connection.

    What is waited for goes by the ``clock``, in seconds. What is written down goes by the time of
    day, in seconds since 1970, which may jump by years while a phone is on line; where none is
    given the clock shows it. The queues are lists, for they are short and mostly empty, and an
    empty deque takes 760 bytes.
    """

    org_id: str
    session_id: str
    identity: Identity
    phone: Phone
    limits: Limits
    clock: Callable[[], float]
    time_of_day: Callable[[], float] | None = None
    #: The org and the id of the API key that let the phone in, where one did.
    held_key: tuple[str, str] | None = None
    #: When it began.
    since: float = field(init=False)
    #: Counts for all phones of the node.
    tally: PushTally = field(default_factory=PushTally)
    order: int = 0
    sims: tuple[Sim, ...] = ()
    on_line: bool = False
    #: The table may hold tickets that wait for this phone.
    backlog: bool = True
    #: It is known to hold some, and need not be asked.
    laden: bool = False
    #: Counts what was queued for this phone, so that a claim knows if it may have missed some.
    queued: int = 0
    #: Tickets that are being stored as handed to this phone.
    promised: int = 0
    feeding: bool = False
    _open: dict[int, Push] = field(default_factory=dict)
    _held: list[Push] = field(default_factory=list)
    _unreceipted: list[Push] = field(default_factory=list)
    _placed: list[Push] = field(default_factory=list)
    _in_place: int = 0
    _mark: int = 0

    def __post_init__(self) -> None:
        self.since = self.clock()

    @property
    def numbers(self) -> frozenset[str]:
        """The digits of the numbers that this phone reports."""
        return frozenset(filter(None, (digits(sim.number or "") for sim in self.sims)))

    @property
    def phone_id(self) -> str:
        """Who this is, for resuming: the device, else its numbers, else nobody in particular."""
        numbers = ",".join(sorted(self.numbers))
        return self.device_key or (f"sims:{numbers}" if numbers else "?")

    @property
    def keys(self) -> list[str]:
        """The queues that this phone could serve (see `smsd.domain.records.Wish.key`)."""
        slots = [f"slot:{sim.slot}" for sim in self.sims]
        return ["*", *dict.fromkeys(slots), *sorted(self.numbers)]

    @property
    def device_key(self) -> str:
        """Under what the roster knows the device; empty where the phone named none."""
        device_id = self.identity.device_id
        return "" if device_id is None else f"device:{device_id}"

    def number_of(self, slot: int | None) -> str | None:
        """The number that the phone reports for a slot, where it reports one."""
        return next((sim.number or None for sim in self.sims if sim.slot == slot), None)

    def fitting(self, key: str) -> list[Sim]:
        """The SIMs that a ticket of this queue may be sent with."""
        if key == "*":
            return list(self.sims)
        if key.startswith("slot:"):
            return [sim for sim in self.sims if key == f"slot:{sim.slot}"]
        return [sim for sim in self.sims if digits(sim.number or "") == key]

    def sim_key(self, sim: Sim) -> str:
        """By what the org remembers this SIM."""
        return digits(sim.number or "") or f"{self.identity.device_id or '?'}:{sim.slot}"

    def serving(self, key: str) -> Served:
        """With which SIM this phone serves a queue, where that is known."""
        fits = self.fitting(key)
        if len(fits) != 1:
            return Served(key)
        (sim,) = fits
        return Served(key, sim.slot, sim.number or None, digits(sim.number or "") or None)

    def row(self) -> SessionRow:
        """This visit as the other nodes see it."""
        sims = [
            SimRow(
                self.sim_key(sim),
                sim.slot,
                sim.number or None,
                sim.label,
                sim.carrier,
                sim.pace or UNSET,
            )
            for sim in self.sims
        ]
        return SessionRow(self.org_id, self.session_id, self.phone_id, sims)

    # -- places ------------------------------------------------------------------------------

    @property
    def places(self) -> int:
        """How many more tickets this phone may be given now."""
        if not self.on_line or not self.phone.writable:
            return 0
        self._give_up_places()
        unreceipted = len(self._unreceipted) + len(self._held)
        free = min(self.limits.window - unreceipted, self.limits.unanswered - self._in_place)
        return max(0, free - self.promised)

    @property
    def takes_now(self) -> bool:
        """Whether a new ticket may be pushed at once, ahead of nobody that the table holds."""
        return not (self.backlog or self.feeding) and self.places > 0

    def _give_up_places(self) -> None:
        before = self.clock() - PATIENCE
        while self._placed:
            push = self._placed[0]
            if push.in_place and (push.pushed_at is None or push.pushed_at > before):
                break
            self._placed.pop(0)
            self._leave_place(push)

    def _leave_place(self, push: Push) -> None:
        if push.in_place:
            push.in_place = False
            self._in_place -= 1

    # -- pushes ------------------------------------------------------------------------------

    def give(self, tickets: Sequence[Ticket]) -> None:
        """Push tickets that are committed as this session's; held while the transport is full."""
        for ticket in tickets:
            push = Push(ticket)
            self._open[ticket.id] = push
            self._held.append(push)
            self._placed.append(push)
            self._in_place += 1
        self.write_held()

    def write_held(self) -> None:
        """Write what was held back, when the transport takes it."""
        if not (self._held and self.phone.writable):
            return
        pushes, self._held = self._held, []
        self._mark += 1
        self.tally.pushes += len(pushes)
        for push in pushes:
            push.mark, push.pushed_at = self._mark, self.clock()
        self._unreceipted.extend(pushes)
        self.phone.push([push.ticket for push in pushes], self._mark)

    def receipt(self, mark: int) -> None:
        """The phone's socket has read everything up to this mark (RFC 6455, 5.5.3)."""
        while self._unreceipted and self._unreceipted[0].mark <= mark:
            push = self._unreceipted.pop(0)
            if push.received_at is None:
                self._read(push)

    def heard_of(self, ticket_id: int) -> None:
        """The phone said something of the ticket, so it has read the frame."""
        push = self._open.get(ticket_id)
        if push is not None and push.pushed_at is not None and push.received_at is None:
            self._read(push)
            if push in self._unreceipted:
                self._unreceipted.remove(push)

    def _read(self, push: Push) -> None:
        push.received_at = self.clock()
        self.tally.receipts.add(push.received_at - (push.pushed_at or push.received_at))

    def answered(self, ticket_id: int, ref: str | None = None) -> None:
        """The phone said what became of the ticket: it gives its place free. With another ``ref``
        it says nothing."""
        self.heard_of(ticket_id)
        push = self._open.get(ticket_id)
        if push is not None and ref in (None, push.ticket.ref):
            push.answered = True
            self._leave_place(push)

    def settled(self, ticket_id: int) -> bool:
        """The ticket's result is committed; whether it was pushed in this visit."""
        push = self._close(ticket_id)
        if push is not None and push.pushed_at is not None:
            self.tally.results.add(self.clock() - push.pushed_at)
        return push is not None

    def _close(self, ticket_id: int) -> Push | None:
        push = self._open.pop(ticket_id, None)
        if push is None:
            return None
        self._leave_place(push)
        if push.pushed_at is None:  # it was settled elsewhere, and need not be written any more
            self._held.remove(push)
        return push

    def given_up(self, ids: Set[int]) -> None:
        """Nobody waits any more for what became of these; most are other phones'."""
        for id_ in self._open.keys() & ids:
            self._close(id_)

    @property
    def unwritten(self) -> bool:
        """Whether there are tickets that the transport did not take."""
        return bool(self._held)

    @property
    def awaits_results(self) -> bool:
        """Whether the phone has tickets that it may still answer soon, or results to be stored."""
        return self._in_place > 0 or any(push.answered for push in self._open.values())

    def can_give_back(self, ticket_id: int) -> bool:
        """Whether the phone has the ticket, and keeps a ledger, so that it may be asked for it."""
        push = self._open.get(ticket_id)
        return self.identity.keeps_ledger and push is not None and push.pushed_at is not None

    def has(self, ticket_id: int) -> bool:
        """Whether the ticket was pushed in this visit and has no result."""
        return ticket_id in self._open

    def pushed(
        self, ticket_id: int, pushed_at: float | None = None, received_at: float | None = None
    ) -> Pushed:
        """What is known of a push of this visit, as it is written down."""
        return Pushed(
            self.org_id,
            ticket_id,
            self.session_id,
            self.phone_id,
            self._written(pushed_at),
            self._written(received_at),
        )

    def _written(self, moment: float | None) -> int | None:
        """A moment of the clock by the time of day, as that is known now. Milliseconds."""
        if moment is None:
            return None
        ahead = 0.0 if self.time_of_day is None else self.time_of_day() - self.clock()
        return int((moment + ahead) * 1000)

    def is_same_phone(self, other: Visit) -> bool:
        """Whether another visit of the org is of this phone (contract section 3, resuming)."""
        if self.device_key or other.device_key:
            return self.device_key == other.device_key
        return bool(self.numbers & other.numbers) or self.phone_id == other.phone_id == "?"

    def unsettled(self, *, receipted: bool = False) -> list[Pushed]:
        """What is known of the pushes that have no result, or of those that have had a receipt."""
        return [
            self.pushed(id_, push.pushed_at, push.received_at)
            for id_, push in self._open.items()
            if push.received_at is not None or not receipted
        ]
