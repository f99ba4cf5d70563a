"""What a phone's frames ask of the gateway, done one after another: the session's slow effects.

Between the machine, which knows no gateway, and the gateway, which knows no frames. No bytes here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from msgspec import UNSET

from smsd.domain.credentials import Credentials
from smsd.domain.errors import Problem, UnknownTicket
from smsd.gateway.attendance import Attendance
from smsd.gateway.doorman import Caller, Doorman, Newcomer
from smsd.gateway.feeding import Feeding
from smsd.gateway.inbox import Inbox
from smsd.gateway.patience import Patience
from smsd.gateway.recalls import Recalls
from smsd.gateway.results import Results
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Identity, Phone, Visit
from smsd.phone.frames import (
    Auth,
    BadInbound,
    CancelResult,
    DeliveryReport,
    Error,
    GatewayFrame,
    InboundAck,
    InboundSms,
    ResultAck,
    SendResult,
    Sims,
    message_id,
)
from smsd.phone.intake import Intake
from smsd.phone.order import InOrder, Place
from smsd.phone.reports import Reports
from smsd.phone.said import TICKETS, delivery, result
from smsd.phone.session import Broken, new_session

#: An SMS that cannot be stored for so long ends the session, so that the phone sends it again.
STORED_WITHIN = 10.0
#: So many SMS may await their answer before the phone is read no further.
UNANSWERED = 500

#: What a phone says of a ticket, and how an answer to it calls that.
Outcome = SendResult | DeliveryReport | CancelResult
TOLD_OF: dict[type[Outcome], str] = {
    SendResult: "send_result",
    DeliveryReport: "delivery_report",
    CancelResult: "cancel_result",
}


@dataclass(frozen=True)
class Gateway:
    """What a session needs of the gateway."""

    doorman: Doorman
    attendance: Attendance
    inbox: Inbox
    feeding: Feeding
    results: Results
    recalls: Recalls
    patience: Patience
    spawn: Spawn
    #: So many results of one phone may await their commit.
    unanswered: int


class Wire(Phone, Protocol):
    """The phone's connection, as the desk uses it."""

    def send(self, frame: GatewayFrame) -> None:
        """Write a frame."""

    def read_on(self, wanted: bool) -> None:
        """Go on reading from the phone, or stop for a while."""


class Desk:
    """The gateway's side of one phone: the `smsd.phone.session.Effects` of its session."""

    def __init__(self, gateway: Gateway, wire: Wire, address: str) -> None:
        self._gateway = gateway
        self._wire = wire
        self._address = address
        self._visit: Visit | None = None
        self._gone = False
        self._answers = InOrder(wire.send)
        self._sms = Intake(UNANSWERED, self._begin_to_store)
        self._results: Intake[Outcome] = Intake(gateway.unanswered, self._begin_to_settle)
        self._reports = Reports(wire.send)
        self.session = new_session(self)

    def send(self, frame: GatewayFrame) -> None:
        self._wire.send(frame)

    def close(self, problem: Problem) -> None:
        self._wire.close(problem)

    # -- coming and going ----------------------------------------------------------------------

    def recognise(self, auth: Auth) -> None:
        """The phone said who it is in a frame."""
        self._start("recognising a phone", self._recognise(auth))
        self._read_on()

    def enter(self, who: Caller | Newcomer, identity: Identity) -> None:
        """The doorman has recognised the phone."""
        self._start("admitting a phone", self._enter(who, identity))
        self._read_on()

    @property
    def keeps_ledger(self) -> bool:
        """Whether this phone promised to keep a ledger."""
        return self._visit is not None and self._visit.identity.keeps_ledger

    def serve(self) -> None:
        self._gateway.attendance.serve(self._on_line())

    def leave(self, why: str) -> None:
        self._gone = True
        self._sms.forget()  # unanswered, so the phone sends them again
        if self._visit is not None:
            self._gateway.attendance.end(self._visit, why)

    async def _recognise(self, auth: Auth) -> None:
        try:
            who = await self._named(auth)
        except Problem as problem:
            self.session.refused(problem)
        else:
            await self._enter(who, Identity(auth.device_id, auth.keeps_ledger))

    async def _named(self, auth: Auth) -> Caller | Newcomer:
        doorman = self._gateway.doorman
        if auth.key is not UNSET:
            return await doorman.open(auth.org_id, auth.key, ("phone",))
        credentials = Credentials(auth.org_id, auth.secret_key or "")
        return await doorman.recognise(
            credentials, self._address, claim=True, claim_token=auth.claim_token
        )

    async def _enter(self, who: Caller | Newcomer, identity: Identity) -> None:
        try:
            if isinstance(who, Newcomer):
                who, _ = await self._gateway.doorman.claim(who)
            if self._gone:
                return
            self._visit = await self._gateway.attendance.begin(who, identity, self._wire)
        except Problem as problem:
            self.session.refused(problem)
            return
        if self._gone:
            self._gateway.attendance.end(self._visit, "left while it was admitted")
        else:
            self.session.admitted(self._visit.org_id)
            self._read_on()

    def _start(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._gateway.spawn(what, self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever stops the work ends the session: an answer left out holds all later ones."""
        try:
            await work
        except Problem as problem:
            self.session.dismiss(problem)
        except Exception:
            self.session.dismiss(Broken())
            raise

    def _read_on(self) -> None:
        """Read from the phone unless it is not on line yet, or too much of it is not done."""
        busy = len(self._answers) >= UNANSWERED or self._reports.full or self._results.full
        self._wire.read_on(self._visit is not None and not busy)

    # -- what the socket tells ----------------------------------------------------------------

    def receipt(self, mark: int) -> None:
        """The phone's socket has read everything up to this mark."""
        if self._visit is not None:
            self._visit.receipt(mark)
            self._gateway.feeding.feed(self._visit)

    def writable_again(self) -> None:
        """The transport takes more."""
        if self._visit is not None:
            self._visit.write_held()
            self._gateway.feeding.feed(self._visit)

    # -- SIMs ----------------------------------------------------------------------------------

    def report(self, frame: Sims) -> None:
        if self._reports.add(frame):
            self._start("storing SIMs", self._report())
        self._read_on()

    async def _report(self) -> None:
        visit = self._on_line()
        await self._reports.stored(lambda sims: self._gateway.attendance.report(visit, sims))
        self._read_on()

    # -- SMS that arrived ----------------------------------------------------------------------

    def store(self, frame: InboundSms) -> None:
        self._sms.add((frame, self._answers.expect()))
        self._read_on()

    def refuse(self, problem: BadInbound) -> None:
        place = self._answers.expect()
        error = Error(problem.slug, problem.detail, "inbound", problem.message_id)
        self._answers.answer(place, error)

    def _begin_to_store(self, sms: tuple[InboundSms, Place]) -> None:
        self._start("storing an SMS", self._store(*sms))

    async def _store(self, frame: InboundSms, place: Place) -> None:
        visit, patience = self._on_line(), self._gateway.patience
        until = patience.now + STORED_WITHIN

        async def stored() -> int:
            who = Caller(visit.org_id)
            return await self._gateway.inbox.store(who, [frame.message], visit, until=until)

        try:
            count = await patience.insist(stored, until=until)
            self._answers.answer(place, InboundAck(count, message_id(frame.message.id)))
        finally:
            self._sms.done()
        self._read_on()

    # -- results, and reports of deliveries ----------------------------------------------------

    def settle(self, frame: SendResult | DeliveryReport) -> None:
        self._results.add(frame)
        self._read_on()

    def take_back(self, frame: CancelResult) -> None:
        self._results.add(frame)
        self._read_on()

    def _begin_to_settle(self, frame: Outcome) -> None:
        self._start("settling a ticket", self._settle(frame))

    async def _settle(self, frame: Outcome) -> None:
        """Also after the phone has gone: what it said of a ticket it need not say again."""
        try:
            self._tell_of(frame, await self._verdict(frame))
        finally:
            self._results.done()
        self._read_on()

    async def _verdict(self, frame: Outcome) -> str:
        if frame.id not in TICKETS:
            return "unknown"
        visit, results = self._on_line(), self._gateway.results
        match frame:
            case SendResult():
                return await results.take(visit, result(visit.org_id, frame))
            case DeliveryReport():
                return await results.take_delivery(visit, delivery(visit.org_id, frame))
            case CancelResult(id=id_, cancelled=cancelled):
                return await self._gateway.recalls.take(visit, id_, cancelled=cancelled)
            case _:
                assert_never(frame)

    def _tell_of(self, frame: Outcome, verdict: str) -> None:
        if verdict == "unknown":
            problem, told = UnknownTicket(), TOLD_OF[type(frame)]
            self._wire.send(Error(problem.slug, problem.detail, told, frame.id))
        elif self.keeps_ledger and verdict != "ignored" and isinstance(frame, SendResult):
            self._wire.send(ResultAck(frame.id))

    def _on_line(self) -> Visit:
        assert self._visit is not None, "the session speaks only when it is on line"
        return self._visit
