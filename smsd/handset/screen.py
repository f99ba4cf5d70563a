"""What the user sees: one line for each thing that happens, and each frame in plain words.

This is the user's own phone, so the texts are shown. They are strangers' words all the same: a
character that is not for printing (a newline, a terminal's escape) is shown by its code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TextIO, assert_never

from smsd.domain.records import INBOUND_LENGTH, Inbound, Sim
from smsd.phone.frames import (
    Auth,
    CancelResult,
    CancelSms,
    Connected,
    DeliveryReport,
    Error,
    GatewayFrame,
    InboundAck,
    InboundSms,
    PhoneFrame,
    Ping,
    Pong,
    ResultAck,
    SendResult,
    SendSms,
    Sims,
    SimsAck,
)

HINT = "to receive an SMS type its sender and its text, as in: +15551234567 some text"
TOO_LONG = f"an SMS has at most {INBOUND_LENGTH:,} characters"

_TYPED = re.compile(r"(\+[0-9]{2,20})\s+(\S.*)")


class Screen:
    """Writes lines to a stream as they happen; ``gone`` is called when nobody reads them."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self.gone: Callable[[], None] = lambda: None

    def show(self, words: str) -> None:
        try:
            print(printable(words), file=self._stdout, flush=True)
        except BrokenPipeError:  # as in ``smsd phone | head``
            _to_nowhere(self._stdout)
            self.gone()

    def came(self, frame: GatewayFrame) -> None:
        self.show(f"<- {came(frame)}")

    def went(self, frame: PhoneFrame) -> None:
        self.show(f"-> {went(frame)}")


def _to_nowhere(stream: TextIO) -> None:
    """Keeps the interpreter from failing on what is still buffered (Python's note on SIGPIPE)."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def printable(text: str) -> str:
    """The text on one line, without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def came(frame: GatewayFrame) -> str:
    """A frame from the gateway in words."""
    match frame:
        case Connected(org_id=org_id):
            return f"connected to org {org_id}"
        case SimsAck(count=count):
            return f"sims stored: {count}"
        case SendSms():
            by = "" if frame.sim is None else f" by SIM {frame.sim}"
            return f"send_sms {frame.id} to {frame.to}{by}: {frame.body}"
        case ResultAck(id=ticket):
            return f"result of {ticket} acknowledged"
        case CancelSms(id=ticket):
            return f"cancel_sms {ticket}"
        case InboundAck():
            return "inbound stored"
        case Pong():
            return "pong"
        case Error():
            return _refusal(frame)
    assert_never(frame)


def went(frame: PhoneFrame) -> str:
    """A frame to the gateway in words."""
    match frame:
        case Auth(org_id=org_id):
            return f"auth as org {org_id}"
        case Sims(sims=sims):
            return "sims: " + ", ".join(map(_sim, sims))
        case InboundSms(message=message):
            return f"inbound from {message.address}: {message.body}"
        case SendResult(success=True):
            return f"send_result {frame.id}: sent"
        case SendResult():
            return f"send_result {frame.id}: failed, {frame.error}"
        case DeliveryReport():
            return (
                f"delivery_report {frame.id}: {'arrived' if frame.delivered else 'did not arrive'}"
            )
        case CancelResult(cancelled=True):
            return f"cancel_result {frame.id}: given back, it is not sent"
        case CancelResult():
            return f"cancel_result {frame.id}: too late"
        case Ping():
            return "ping"
    assert_never(frame)


def typed(line: str, sim: Sim, message_id: str, now: int) -> Inbound | str:
    """The SMS that a typed line stands for, or the hint for its author."""
    match = _TYPED.fullmatch(line.strip())
    if match is None:
        return HINT
    address, body = match.groups()
    if len(body) > INBOUND_LENGTH:
        return TOO_LONG
    return Inbound(
        address=address,
        body=body,
        date=now,
        sim_slot=sim.slot,
        sim_number=sim.number,
        id=message_id,
    )


def _sim(sim: Sim) -> str:
    return f"slot {sim.slot}, number {sim.number or 'unknown'}"


def _refusal(frame: Error) -> str:
    answers = f" to {frame.in_reply_to}" if isinstance(frame.in_reply_to, str) else ""
    return f"error {frame.code}{answers}: {frame.detail}"
