"""What a phone's frames ask of the gateway, done one after another: the session's slow effects.

Between the machine, which knows no gateway, and the gateway, which knows no frames. No bytes here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from smsd.domain.credentials import Credentials
from smsd.domain.errors import Problem
from smsd.domain.records import INT64, WORDS_LENGTH, Result, integer, readable
from smsd.gateway.attendance import Attendance
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller, Doorman, Newcomer
from smsd.gateway.inbox import Inbox
from smsd.gateway.patience import Patience
from smsd.gateway.results import Results
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Identity, Phone, Visit
from smsd.phone.frames import (
    Auth,
    BadInbound,
    Error,
    GatewayFrame,
    InboundAck,
    InboundSms,
    ResultAck,
    SendResult,
    Sims,
    SimsAck,
    message_id,
)
from smsd.phone.order import InOrder, Place
from smsd.phone.session import new_session

#: An SMS that cannot be stored for so long ends the session, so that the phone sends it again.
STORED_WITHIN = 10.0
#: So many SMS may await their answer before the phone is read no further.
UNANSWERED = 500
#: Times that Postgres can hold and that a phone can mean: the years 1970 to 9999, in ms.
SENT_AT = range(253_402_300_800_000)


@dataclass(frozen=True)
class Gateway:
    """What a session needs of the gateway."""

    doorman: Doorman
    attendance: Attendance
    inbox: Inbox
    dispatch: Dispatch
    results: Results
    patience: Patience
    spawn: Spawn


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
        self.session = new_session(self)

    def send(self, frame: GatewayFrame) -> None:
        self._wire.send(frame)

    def close(self, problem: Problem) -> None:
        self._wire.close(problem)

    # -- coming and going ----------------------------------------------------------------------

    def recognise(self, auth: Auth) -> None:
        """The phone said who it is in a frame."""
        self._gateway.spawn("recognising a phone", self._recognise(auth))

    def enter(self, who: Caller | Newcomer, identity: Identity) -> None:
        """The doorman has recognised the phone."""
        self._gateway.spawn("admitting a phone", self._enter(who, identity))

    @property
    def keeps_ledger(self) -> bool:
        """Whether this phone promised to keep a ledger."""
        return self._visit is not None and self._visit.identity.keeps_ledger

    def serve(self) -> None:
        assert self._visit is not None
        self._gateway.attendance.serve(self._visit)

    def leave(self, why: str) -> None:
        self._gone = True
        if self._visit is not None:
            self._gateway.attendance.end(self._visit, why)

    async def _recognise(self, auth: Auth) -> None:
        try:
            who = await self._gateway.doorman.recognise(
                Credentials(auth.org_id, auth.secret_key),
                self._address,
                claim=True,
                claim_token=auth.claim_token,
            )
        except Problem as problem:
            self.session.refused(problem)
            return
        await self._enter(who, Identity(auth.device_id, auth.keeps_ledger))

    async def _enter(self, who: Caller | Newcomer, identity: Identity) -> None:
        try:
            if isinstance(who, Newcomer):
                who, _ = await self._gateway.doorman.claim(who)
            if self._gone:
                return
            visit = await self._gateway.attendance.begin(who, identity, self._wire)
        except Problem as problem:
            self.session.refused(problem)
            return
        self._visit = visit
        if self._gone:
            self._gateway.attendance.end(visit, "left while it was admitted")
            return
        self.session.admitted(visit.org_id)

    # -- what the socket tells ----------------------------------------------------------------

    def receipt(self, mark: int) -> None:
        """The phone's socket has read everything up to this mark."""
        if self._visit is not None:
            self._visit.receipt(mark)
            self._gateway.dispatch.feed(self._visit)

    def writable_again(self) -> None:
        """The transport takes more."""
        if self._visit is not None:
            self._visit.write_held()
            self._gateway.dispatch.feed(self._visit)

    # -- SIMs ----------------------------------------------------------------------------------

    def report(self, frame: Sims) -> None:
        self._gateway.spawn("storing SIMs", self._report(frame))

    async def _report(self, frame: Sims) -> None:
        visit = self._on_line()
        try:
            count = await self._gateway.attendance.report(visit, frame.sims)
        except Problem as problem:
            self.session.dismiss(problem)
        else:
            self._wire.send(SimsAck(count))

    # -- SMS that arrived ----------------------------------------------------------------------

    def store(self, frame: InboundSms) -> None:
        place = self._answers.expect()
        self._wire.read_on(len(self._answers) < UNANSWERED)
        self._gateway.spawn("storing an SMS", self._store(frame, place))

    def refuse(self, problem: BadInbound) -> None:
        place = self._answers.expect()
        error = Error(problem.slug, problem.detail, "inbound", problem.message_id)
        self._answers.answer(place, error)

    async def _store(self, frame: InboundSms, place: Place) -> None:
        visit, patience = self._on_line(), self._gateway.patience
        try:
            stored = await patience.insist(
                lambda: self._gateway.inbox.store(Caller(visit.org_id), [frame.message], visit),
                until=patience.now + STORED_WITHIN,
            )
        except Problem as problem:
            self.session.dismiss(problem)
            return
        self._answers.answer(place, InboundAck(stored, message_id(frame.message.id)))
        self._wire.read_on(len(self._answers) < UNANSWERED)

    # -- results -------------------------------------------------------------------------------

    def settle(self, frame: SendResult) -> None:
        self._gateway.spawn("settling a ticket", self._settle(frame))

    async def _settle(self, frame: SendResult) -> None:
        visit = self._on_line()
        if frame.id not in INT64 or frame.id < 1:
            verdict = "unknown"
        else:
            verdict = await self._gateway.results.take(visit, _result(visit, frame))
        if verdict == "unknown":
            detail = "No ticket of this org with this id was ever pushed to a phone."
            self._wire.send(Error("unknown_ticket", detail, "send_result", frame.id))
        elif self.keeps_ledger and verdict != "ignored":
            self._wire.send(ResultAck(frame.id))

    def _on_line(self) -> Visit:
        assert self._visit is not None, "the session speaks only when it is on line"
        return self._visit


def _result(visit: Visit, frame: SendResult) -> Result:
    words = readable(frame.error)[:WORDS_LENGTH] if frame.error else None
    return Result(
        org_id=visit.org_id,
        id=frame.id,
        success=frame.success,
        error=words,
        sent_at=integer(frame.sent_at, SENT_AT),
        ref=frame.ref,
    )
