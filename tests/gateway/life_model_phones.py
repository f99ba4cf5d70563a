"""The model's phones, which keep contract section 3 to the letter, and the wires to them.

A wire is two queues of frames. When either side reads is the model's choice; what was not read
when the wire breaks is lost, and the gateway may learn of the break much later.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from msgspec import UNSET

from smsd.domain.errors import Problem
from smsd.domain.records import Sim, Ticket
from smsd.gateway.doorman import Caller
from smsd.gateway.visit import Identity
from smsd.phone.desk import Desk, Gateway
from smsd.phone.frames import (
    CancelResult,
    CancelSms,
    Connected,
    ResultAck,
    SendResult,
    SendSms,
    Sims,
)


@dataclass(frozen=True)
class Ping:
    """The ping behind a write; its pong is the receipt."""

    mark: int


@dataclass(frozen=True)
class Farewell:
    """The gateway ended the connection."""

    why: str


@dataclass
class Line:
    """What a ledger phone has written down of a ticket; ``answer`` None: it is at the radio."""

    id: int
    answer: SendResult | None = None
    acknowledged: bool = False
    given_back: bool = False


@dataclass(eq=False)
class Handset:
    """A phone. Plain, it forgets what it has told; with a ledger it keeps its promise."""

    name: str
    org_id: str
    identity: Identity
    sims: tuple[Sim, ...]
    truth: Any
    wire: Wire | None = None
    #: What it has read and not yet sent: tickets, with the ref where it keeps a ledger.
    radio: deque[tuple[int, str | None]] = field(default_factory=deque)
    ledger: dict[str, Line] = field(default_factory=dict)
    #: Results of a plain phone that had no connection to tell them.
    untold: list[SendResult] = field(default_factory=list)
    told: list[SendResult] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)

    @property
    def who(self) -> str:
        """Which phones the gateway takes for one: those that name no device cannot be told
        apart until they have reported a number."""
        return self.identity.device_id or "?"

    def read(self, item: Any) -> None:
        """One thing that came over the wire."""
        assert self.wire is not None
        match item:
            case Connected():
                self._greeted()
            case SendSms():
                self._take(item)
            case CancelSms(id=id_):
                self._give_back(id_)
            case Ping(mark=mark):
                self.wire.to_gateway.append(mark)
            case ResultAck(id=id_):
                for line in self.ledger.values():
                    line.acknowledged |= line.id == id_
            case Farewell():
                self.wire = None

    def send_sms(self, success: bool) -> None:
        """The radio does its work for the ticket that is next, or fails."""
        id_, ref = self.radio.popleft()
        if success:
            self.sent[id_] += 1
        self.truth.radio(self, id_, success)
        result = SendResult(id_, success, None if success else "no credit", ref=ref)
        if ref is not None:
            self.ledger[ref].answer = result
        if self.wire is not None:
            self.tell(result)
        elif ref is None:
            self.untold.append(result)

    def tell(self, result: SendResult) -> None:
        assert self.wire is not None
        self.told.append(result)
        self.wire.to_gateway.append(result)

    def restart(self) -> None:
        """The app dies: a plain phone forgets; one with a ledger answers for what it was at."""
        self.wire = None
        self.radio.clear()
        self.untold.clear()
        for ref, line in self.ledger.items():
            if line.answer is None and not line.given_back:
                self.truth.radio(self, line.id, False)
                line.answer = SendResult(line.id, False, "interrupted", ref=ref)

    def _greeted(self) -> None:
        assert self.wire is not None
        if self.sims and self.wire.reports:
            self.wire.to_gateway.append(Sims(list(self.sims)))
        results, self.untold = self.untold, []
        results += [line.answer for line in self.ledger.values() if self._owes(line)]
        for result in results:
            self.tell(result)

    @staticmethod
    def _owes(line: Line) -> bool:
        return line.answer is not None and not line.acknowledged

    def _take(self, frame: SendSms) -> None:
        if not self.identity.keeps_ledger:
            assert (frame.ref, frame.attempt) == (UNSET, UNSET), "a plain phone got a ref"
            self.radio.append((frame.id, None))
            return
        assert isinstance(frame.ref, str), "a ledger phone got no ref"
        line = self.ledger.get(frame.ref)
        if line is None:
            assert all(frame.id != line.id for line in self.ledger.values()), "two refs, one ticket"
            self.ledger[frame.ref] = Line(frame.id)
            self.radio.append((frame.id, frame.ref))
        elif line.answer is not None:
            self.tell(line.answer)
        elif line.given_back:
            self._say(CancelResult(frame.id, cancelled=True))

    def _give_back(self, id_: int) -> None:
        """Not what the radio has begun with: here, what is done."""
        assert self.identity.keeps_ledger, "a plain phone was asked for a ticket"
        ref, line = next(
            (each for each in self.ledger.items() if each[1].id == id_), (None, Line(id_))
        )
        if (id_, ref) in self.radio:
            self.radio.remove((id_, ref))
            line.given_back = True
        self._say(CancelResult(id_, line.given_back))

    def _say(self, frame: CancelResult) -> None:
        assert self.wire is not None
        self.wire.to_gateway.append(frame)


@dataclass(eq=False)
class Wire:
    """A connection: the gateway's side is the `smsd.phone.desk.Wire` of a real desk."""

    phone: Handset
    node: Any
    truth: Any
    turn: Callable[[], None]
    reports: bool
    to_phone: deque[Any] = field(default_factory=deque)
    to_gateway: deque[Any] = field(default_factory=deque)
    flowing: bool = True
    #: The gateway has greeted the phone; has ended the session; has learnt that it is over.
    greeted: bool = False
    closed: bool = False
    over: bool = False
    reading: bool = True

    def open(self) -> None:
        self.phone.wire = self
        given = {**vars(self.node), "unanswered": 100}
        gateway = Gateway(*(given[one.name] for one in fields(Gateway)))
        self.desk = Desk(gateway, self, "192.0.2.1")
        self.desk.session.knock()
        self.desk.enter(Caller(self.phone.org_id), self.phone.identity)
        self.turn()

    @property
    def live(self) -> bool:
        """Whether the gateway holds this phone for connected."""
        return self.greeted and not self.closed and not self.over

    @property
    def is_silent(self) -> bool:
        """Whether no pong comes through any more: the phone is gone, or does not read."""
        return self.phone.wire is not self or bool(self.to_phone) or not self.flowing

    # -- what the gateway does -----------------------------------------------------------------

    @property
    def writable(self) -> bool:
        return self.flowing and not self.closed and not self.over

    def send(self, frame: Any) -> None:
        if self.closed or self.over:
            return
        self.greeted = self.greeted or isinstance(frame, Connected)
        if isinstance(frame, ResultAck):
            self.truth.acknowledges(self, frame.id)
        self.to_phone.append(frame)

    def push(self, tickets: Sequence[Ticket], mark: int) -> None:
        self.truth.pushes(self, tickets, mark)
        ledger = self.desk.keeps_ledger
        for ticket in tickets:
            ref, attempt = (ticket.ref, ticket.attempt) if ledger else (UNSET, UNSET)
            self.send(SendSms(ticket.id, ticket.to, ticket.body, ticket.sim, ref, attempt))
        self.send(Ping(mark))

    def ask_back(self, ticket_id: int) -> None:
        self.send(CancelSms(ticket_id))

    def close(self, problem: Problem) -> None:
        if not self.closed:
            self.send(Farewell(problem.slug))
            self.closed = True

    def read_on(self, wanted: bool) -> None:
        self.reading = wanted

    # -- what the network does -----------------------------------------------------------------

    def gateway_reads(self) -> None:
        """One thing that the phone has sent."""
        item = self.to_gateway.popleft()
        if self.closed or self.over:
            return
        if isinstance(item, int):
            self.truth.receipt(self, item)
            self.desk.receipt(item)
        else:
            self.truth.hears(self, item)
            self.desk.session.speak(item)
        self.turn()

    def flow(self, flowing: bool) -> None:
        if flowing == self.flowing:
            return
        self.flowing = flowing
        if flowing:
            self.desk.writable_again()
            self.turn()

    def breaks(self) -> None:
        """The gateway learns that the connection is gone."""
        if not self.over:
            self.over = True
            self.to_gateway.clear()
            self.desk.session.lost("gone")
            self.turn()
