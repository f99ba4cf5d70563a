"""The frames of the phone protocol (contract section 4), one class each.

->  {"type":"auth","org_id":"ORG","secret_key":"SECRET"}           also device_id, ledger;
                                                    key in place of secret_key
<-  {"type":"connected","org_id":"ORG"}
->  {"type":"sims","sims":[{"slot":0,"number":"+1555...","label":"SIM1","carrier":"AT&T"}]}
<-  {"type":"sims_ack","count":1}
->  {"type":"inbound","message":{"address":"+1...","body":"...","date":1700000000000}}
<-  {"type":"inbound_ack","stored":1}                               and id, where it had one
<-  {"type":"send_sms","id":5,"to":"+1999...","body":"hi","sim":"+1555..."}
                                                    to a ledger phone also ref, attempt;
                                                    expires_at, receipt where asked for
->  {"type":"send_result","id":5,"success":true}    also error, sent_at, ref
->  {"type":"delivery_report","id":5,"delivered":true}   also at, error, ref
<-  {"type":"result_ack","id":5}                    to a ledger phone
<-  {"type":"cancel_sms","id":5}                    to a ledger phone
->  {"type":"cancel_result","id":5,"cancelled":true}
->  {"type":"ping"}
<-  {"type":"pong"}
<-  {"type":"error","code":"bad_frame","detail":"..."}   also in_reply_to, id

``->`` is from the phone, ``<-`` to the phone. Unknown keys are ignored, unknown types refused.
The types say what is meant; what phones also say for it (an integer as ``"5"`` or ``5.0``, a SIM
in no slot) is read as that.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from smsd.domain.errors import BadFrame, Fault, Invalid, NotJson, Problem
from smsd.domain.reading import Reader, mended, parsed
from smsd.domain.records import INT64, WORDS_LENGTH, Inbound, Number, Sim
from smsd.phone.loose import FEW, SaidSims, whole

DeviceId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[^\x00]*$",
        description="must be a name of 1 to 64 characters",
    ),
]


class Auth(Struct, frozen=True, tag="auth"):
    """Who the phone is, where the URL did not say it. The first frame, or none."""

    org_id: str
    secret_key: str | UnsetType = UNSET
    device_id: DeviceId | None = None
    ledger: bool | int | str | None = None
    claim_token: str | None = None
    #: An API key with the scope ``phone``, in place of the secret.
    key: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.secret_key is UNSET and self.key is UNSET:
            raise ValueError("secret_key is missing, or key in its place")
        if self.secret_key is not UNSET and self.key is not UNSET:
            raise ValueError("secret_key and key are given: send one of them")

    @property
    def keeps_ledger(self) -> bool:
        return promises_ledger(self.ledger)


class Sims(Struct, frozen=True, tag="sims"):
    """All SIMs of this phone; replaces what it reported before."""

    sims: Annotated[list[Sim], FEW]


class InboundSms(Struct, frozen=True, tag="inbound"):
    """An SMS that the phone received. Answered exactly once, in the order of arrival."""

    message: Inbound


class SendResult(Struct, frozen=True, tag="send_result"):
    """What became of a ``send_sms``. ``sent_at`` is in Unix milliseconds."""

    id: int
    success: bool
    error: str | None = None
    sent_at: Number = None
    ref: str | None = None


class DeliveryReport(Struct, frozen=True, tag="delivery_report"):
    """What the network said of an SMS that was sent. ``at`` is in Unix milliseconds."""

    id: int
    delivered: bool
    at: Number = None
    error: str | None = None
    ref: str | None = None


class CancelResult(Struct, frozen=True, tag="cancel_result"):
    """Whether the phone gave the ticket back: then it never sends it."""

    id: int
    cancelled: bool


class Ping(Struct, frozen=True, tag="ping"):
    """The phone asks whether anybody is there."""


PhoneFrame = Auth | Sims | InboundSms | SendResult | DeliveryReport | CancelResult | Ping


class Connected(Struct, frozen=True, tag="connected"):
    """The phone is on line."""

    org_id: str


class SimsAck(Struct, frozen=True, tag="sims_ack"):
    """The report of SIMs is stored."""

    count: int


class InboundAck(Struct, frozen=True, tag="inbound_ack", omit_defaults=True):
    """The SMS is committed; the phone may forget it."""

    stored: int
    id: str | int | UnsetType = UNSET


class SendSms(Struct, frozen=True, tag="send_sms", omit_defaults=True):
    """Send this. ``ref`` and ``attempt`` only to a phone that keeps a ledger; ``expires_at``, in
    Unix milliseconds, where it is not to be sent from then on; ``receipt`` where the agent wants to
    hear whether it arrived."""

    id: int
    to: str
    body: str
    sim: str | None
    ref: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    receipt: bool | UnsetType = UNSET


class ResultAck(Struct, frozen=True, tag="result_ack"):
    """The result is committed; a ledger phone need not repeat it."""

    id: int


class CancelSms(Struct, frozen=True, tag="cancel_sms"):
    """Do not send this after all, if it is not under way yet. Only to a ledger phone."""

    id: int


class Pong(Struct, frozen=True, tag="pong"):
    """Somebody is there."""


class Error(Struct, frozen=True, tag="error", omit_defaults=True):
    """Something was wrong with a frame; the connection goes on unless it is closed next."""

    code: str
    detail: str
    in_reply_to: str | UnsetType = UNSET
    id: str | int | UnsetType = UNSET


GatewayFrame = Connected | SimsAck | InboundAck | SendSms | ResultAck | CancelSms | Pong | Error

encode = msgspec.json.Encoder().encode


class BadAuth(BadFrame):
    """This was to be an ``auth`` frame."""


class BadInbound(BadFrame):
    """This SMS can never be stored: do not send it again."""

    def __init__(self, detail: str, message_id: str | int | UnsetType) -> None:
        super().__init__(detail)
        self.message_id = message_id


_KINDS: dict[str, type[Struct]] = {
    "auth": Auth,
    "sims": SaidSims,
    "inbound": InboundSms,
    "send_result": SendResult,
    "delivery_report": DeliveryReport,
    "cancel_result": CancelResult,
    "ping": Ping,
}
_phone = msgspec.json.Decoder(PhoneFrame)
_gateway = msgspec.json.Decoder(GatewayFrame)
_readers: dict[str, Reader[Any]] = {
    name: Reader(kind, lenient=name != "auth") for name, kind in _KINDS.items()
}


def decode(raw: bytes) -> PhoneFrame:
    """A frame from a phone; raises `BadFrame`, and of its kinds `BadAuth` where it was an ``auth``,
    `BadInbound` where it was an ``inbound``."""
    try:
        return _phone.decode(raw)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return _decode_slowly(raw)


def decode_from_gateway(raw: bytes) -> GatewayFrame:
    """A frame from the gateway, for the phone's side; raises `BadFrame`."""
    try:
        return _gateway.decode(raw)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise BadFrame(str(error)) from None


def message_id(given: object) -> str | int | UnsetType:
    """The id by which a phone calls its SMS, as an answer repeats it; UNSET where it has none."""
    if isinstance(given, bool):
        return UNSET
    if isinstance(given, int) and given in INT64:
        return given
    if isinstance(given, float) and given.is_integer() and int(given) in INT64:
        return int(given)
    return given if isinstance(given, str) and given else UNSET


def told(problem: Problem) -> Error:
    """The problem as a phone reads it, with every fault that it lists."""
    faults = "; ".join(_told(fault) for fault in problem.errors or [])
    return Error(problem.slug, f"{problem.detail} {faults}".rstrip()[:WORDS_LENGTH])


def promises_ledger(given: bool | int | str | None) -> bool:
    """Whether ``ledger`` says yes: ``1`` or ``true`` (contract section 3)."""
    return (
        given is True or given == 1 or (isinstance(given, str) and given.lower() in ("1", "true"))
    )


def _decode_slowly(raw: bytes) -> PhoneFrame:
    try:
        value = parsed(raw)
    except NotJson as problem:
        raise BadFrame(problem.detail.replace("The body", "The frame")) from None
    kind = value.get("type")
    reader = _readers.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise BadFrame(f"Unknown type: a phone sends one of {', '.join(_KINDS)}.")
    try:
        built = reader.build({**value, "id": whole(value["id"])} if "id" in value else value)
    except Invalid as problem:
        detail = f"{kind}: " + "; ".join(_told(fault) for fault in problem.errors or [])
        if kind != "inbound":
            raise (BadAuth if kind == "auth" else BadFrame)(detail[:WORDS_LENGTH]) from None
        message = mended(value.get("message"))
        given = message.get("id") if isinstance(message, dict) else None
        raise BadInbound(detail[:WORDS_LENGTH], message_id(given)) from None
    return Sims(built.in_slots()) if isinstance(built, SaidSims) else built


def _told(fault: Fault) -> str:
    return f"{'.'.join(map(str, fault.loc))} {fault.msg}".lstrip()
