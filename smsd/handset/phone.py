"""What a phone does, without a socket, a file or a clock: frames go in, effects come out.

->  device_id, ledger in the URL, OrgId and secret in headers      smsd.handset.line
<-  connected               report the SIM; tell again what the gateway may have missed
->  sims, send_result ..., inbound ...
<-  send_sms                write it down, hand it to the radio; send_result when that is done
<-  send_sms, expired       send_result that says so, and the radio never sees it
<-  send_sms, same ref      answer again, never send again           only with a ledger
<-  cancel_sms              ask the radio for it back; cancel_result   only with a ledger
<-  result_ack              stop repeating that result               only with a ledger
->  delivery_report         it arrived                           only where that is asked for
->  inbound                 an SMS came over the air
<-  inbound_ack, or error   forget it; until then it is sent again after every reconnect

``->`` is from the phone, ``<-`` to the phone. Effects are to be carried out in their order, each
before the next: a `WriteDown` that fails must keep what follows it from happening, and that is
all the promise of `smsd.handset.ledger` rests on.

A phone without a ledger answers each ``send_sms`` once, when its radio is done, and cannot know
whether the answer arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from msgspec import UNSET, UnsetType

from smsd.domain.records import Inbound, Sim, integer
from smsd.handset.ledger import (
    Acknowledged,
    Answered,
    Entry,
    GivenBack,
    Heard,
    Ledger,
    Settled,
    Taken,
)
from smsd.phone.frames import (
    CancelResult,
    CancelSms,
    Connected,
    DeliveryReport,
    Error,
    GatewayFrame,
    InboundAck,
    InboundSms,
    PhoneFrame,
    Pong,
    ResultAck,
    SendResult,
    SendSms,
    Sims,
    SimsAck,
)


@dataclass(frozen=True, slots=True)
class Write:
    """Send this frame to the gateway."""

    frame: PhoneFrame


@dataclass(frozen=True, slots=True)
class WriteDown:
    """Put this into the ledger and go on only when it is on the disk."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class HandToRadio:
    """Send this SMS, then tell `Phone.radio_answered`."""

    sms: SendSms


@dataclass(frozen=True, slots=True)
class TakeFromRadio:
    """Do not send this after all, if that can be; then tell `Phone.radio_gave_back`."""

    ref: str


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the user what no frame tells."""

    words: str


#: What the gateway is told of an SMS that came too late to be sent.
EXPIRED = "expired"

Effect = Write | WriteDown | HandToRadio | TakeFromRadio | Say


class Phone:
    """One phone with one SIM."""

    def __init__(self, sim: Sim, ledger: Ledger) -> None:
        self._sim = sim
        self._ledger = ledger
        self._on_line = False
        self._untold: list[SendResult | DeliveryReport] = []

    def receive(self, frame: GatewayFrame, now: int) -> list[Effect]:
        """What to do about a frame of the gateway. ``now`` is in Unix milliseconds."""
        match frame:
            case Connected():
                return self._came_on_line()
            case SendSms():
                return self._asked_to_send(frame, now)
            case CancelSms(id=ticket):
                return self._asked_back(ticket)
            case ResultAck(id=ticket):
                return self._acknowledged(ticket)
            case InboundAck(id=message_id) | Error(in_reply_to="inbound", id=message_id):
                return self._settled(message_id)
            case Error(in_reply_to="send_result", id=int(ticket)):
                return self._acknowledged(ticket)  # refused for good: to repeat it is no use
            case SimsAck() | Pong() | Error():
                return []
        assert_never(frame)

    def line_lost(self) -> None:
        self._on_line = False

    def not_written(self, frame: PhoneFrame) -> None:
        """The line was already closing when this frame should have been sent."""
        if isinstance(frame, DeliveryReport) or (
            isinstance(frame, SendResult) and frame.ref is None
        ):
            self._untold.append(frame)

    def heard(self, message: Inbound) -> list[Effect]:
        """An SMS came over the air. Its id must be text that no other SMS of this phone has."""
        kept = Say("not connected: this SMS is kept until the gateway has stored it")
        return [self._noted(Heard(message)), *(self._told(InboundSms(message)) or [kept])]

    def radio_answered(self, sms: SendSms, now: int, error: str | None = None) -> list[Effect]:
        """The radio is done with an SMS: sent, or not for the reason given. What was sent arrives
        at once here, where the radio only pretends."""
        answer = self._answered(sms, now, error)
        return answer if error is not None else [*answer, *self._arrived(sms, now)]

    def _answered(self, sms: SendSms, now: int, error: str | None) -> list[Effect]:
        sent_at = now if error is None else None
        if isinstance(sms.ref, str):
            noted = self._noted(Answered(sms.ref, sent_at=sent_at, error=error))
            return [noted, *self._answer(sms.ref)]
        result = SendResult(sms.id, success=error is None, error=error, sent_at=sent_at)
        if not self._on_line:
            self._untold.append(result)
        return self._told(result)

    def radio_gave_back(self, ref: str, *, in_time: bool) -> list[Effect]:
        """Whether the radio had not begun with an SMS, and never will."""
        line = self._ledger.line(ref)
        assert line is not None, "what the radio has is in the ledger"
        noted: list[Effect] = [self._noted(GivenBack(ref))] if in_time else []
        return [*noted, *self._told(CancelResult(line.taken.id, in_time))]

    def _asked_back(self, ticket: int) -> list[Effect]:
        line = self._ledger.line_of(ticket)
        if line is None or line.answer is not None or line.given_back:
            given_back = line is not None and line.given_back
            return self._told(CancelResult(ticket, given_back))
        return [TakeFromRadio(line.taken.ref)]

    def _came_on_line(self) -> list[Effect]:
        self._on_line = True
        untold, self._untold = self._untold, []
        frames: list[PhoneFrame] = [Sims([self._sim]), *untold, *self._ledger.unacknowledged()]
        frames += map(InboundSms, self._ledger.inbound.values())
        return [Write(frame) for frame in frames]

    def _asked_to_send(self, sms: SendSms, now: int) -> list[Effect]:
        if not isinstance(sms.ref, str):
            return self._sent_or_dropped(sms, now)
        if self._ledger.line(sms.ref) is None:
            taken = self._noted(Taken(sms.ref, sms.id, now))
            return [taken, *self._sent_or_dropped(sms, now)]
        known = Say(f"ticket {sms.id} is in the ledger already: it is not sent again")
        return [known, *self._answer(sms.ref), *self._arrived_before(sms, sms.ref)]

    def _sent_or_dropped(self, sms: SendSms, now: int) -> list[Effect]:
        if sms.expires_at is not UNSET and sms.expires_at <= now:
            return self.radio_answered(sms, now, EXPIRED)
        return [HandToRadio(sms)]

    def _arrived(self, sms: SendSms, at: int | None) -> list[Effect]:
        """The report that the SMS arrived, where it was asked for; kept while there is no line."""
        if sms.receipt is not True:
            return []
        ref = sms.ref if isinstance(sms.ref, str) else None
        report = DeliveryReport(sms.id, delivered=True, at=at, ref=ref)
        if not self._on_line:
            self._untold.append(report)
        return self._told(report)

    def _arrived_before(self, sms: SendSms, ref: str) -> list[Effect]:
        """The report may have been lost with the result that it followed."""
        line = self._ledger.line(ref)
        if line is None or line.result is None or not line.result.success:
            return []
        return self._arrived(sms, integer(line.result.sent_at))

    def _answer(self, ref: str) -> list[Effect]:
        """What became of a ticket in the ledger; nothing while the radio is at it."""
        line = self._ledger.line(ref)
        if line is not None and line.given_back:
            return self._told(CancelResult(line.taken.id, cancelled=True))
        return self._told(line.result) if line is not None and line.result is not None else []

    def _acknowledged(self, ticket: int) -> list[Effect]:
        results = self._ledger.unacknowledged(ticket)
        return [self._noted(Acknowledged(str(result.ref))) for result in results]

    def _settled(self, message_id: str | int | UnsetType) -> list[Effect]:
        """An answer without an id is for the oldest: answers come in the order of the SMS."""
        waiting = self._ledger.inbound
        settled = next(iter(waiting), None) if message_id is UNSET else str(message_id)
        return [self._noted(Settled(settled))] if settled in waiting else []

    def _noted(self, entry: Entry) -> WriteDown:
        self._ledger.apply(entry)
        return WriteDown(entry)

    def _told(self, frame: PhoneFrame) -> list[Effect]:
        return [Write(frame)] if self._on_line else []
