"""The things of the trade, as frozen records: an SMS that arrived, a SIM, a ticket, a result.

The same types check what comes in, and make the OpenAPI document: a rule is stated once, here.
``description`` says what would be right, for people who read an error or the document.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from smsd.domain.numbers import DIALLABLE, SLOTS, digits, slot_of
from smsd.domain.pacing import Pace
from smsd.domain.timing import ExpiresAt, Priority, SendAt, Ttl, contradicted

INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
ADDRESS_LENGTH, INBOUND_LENGTH, BODY_LENGTH = 256, 65_536, 1600
SIM_NUMBER_LENGTH, ID_LENGTH, WORDS_LENGTH = 64, 128, 500

Address = Annotated[
    str,
    Meta(max_length=ADDRESS_LENGTH, description="must be text of at most 256 characters, or null"),
]
Text = Annotated[
    str,
    Meta(
        max_length=INBOUND_LENGTH,
        description="must be text of at most 65,536 characters, or null",
    ),
]
Number = Annotated[
    int | float | str | None,
    Meta(description="must be an integer, or null"),
]
To = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=DIALLABLE,
        description="must be a number of 2 to 20 digits, with an optional leading +",
    ),
]
Body = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=BODY_LENGTH,
        pattern=r"^[^\x00]*$",
        description="must be a text of 1 to 1600 characters without NUL",
    ),
]
SimAsked = Annotated[
    str,
    Meta(
        max_length=SIM_NUMBER_LENGTH,
        pattern="[0-9]",
        description="must be a slot (0 to 15) or a SIM's number",
    ),
]
SimIndex = Annotated[int, Meta(ge=0, le=2**63 - 1, description="must be a slot (0 to 15)")]
Slot = Annotated[int, Meta(ge=0, le=SLOTS[-1], description="must be a slot from 0 to 15")]
SimNumber = Annotated[
    str,
    Meta(
        max_length=SIM_NUMBER_LENGTH,
        description="must be text of at most 64 characters, or null",
    ),
]
Label = Annotated[
    str, Meta(max_length=256, description="must be text of at most 256 characters, or null")
]
PaceSaid = Annotated[Pace, Meta(description="must be an object of limits, or null")]


def integer(value: int | float | str | None, within: range = INT64) -> int | None:
    """What a phone gave for a number, or None where it is none or outside ``within``.

    Never refused for its value: an SMS is worth more than its date (contract section 2).
    """
    if isinstance(value, str):
        text = value.strip()
        if not _INTEGER.fullmatch(text):
            return None
        value = int(text)
    elif isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    return value if value is not None and value in within else None


def readable(text: str) -> str:
    """The text as Postgres can hold it: NUL becomes U+FFFD."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


class Inbound(Struct, frozen=True, kw_only=True):
    """An SMS that a phone received, as the phone tells of it (contract section 2)."""

    address: Address | None
    body: Text | None
    date: Number = None
    sim_slot: Number = None
    sim_number: Annotated[str | None, Meta(description="must be text, or null")] = None
    id: Annotated[int | float | str | None, Meta(description="must be text or an integer")] = None

    @property
    def device_ts(self) -> int | None:
        """The phone's date in Unix milliseconds."""
        return integer(self.date)

    @property
    def slot(self) -> int | None:
        return integer(self.sim_slot, SLOTS)

    @property
    def number(self) -> str | None:
        number = self.sim_number
        if not number or not digits(number) or len(number) > SIM_NUMBER_LENGTH:
            return None
        return readable(number)

    @property
    def dedupe(self) -> str | None:
        """Hex SHA-256 of what makes a retry the same message; None where the phone gave no id."""
        name = _name(self.id)
        if name is None:
            return None
        when = self.device_ts
        parts = (
            name.encode(),
            readable(self.address or "").encode(),
            b"none" if when is None else b"%d" % when,
            readable(self.body or "").encode(),
        )
        return hashlib.sha256(
            b"".join([b"%d:%b" % (len(part), part) for part in parts])
        ).hexdigest()


def _name(given: int | float | str | None) -> str | None:
    if isinstance(given, float):
        given = integer(given)
    if given is None or given == "":
        return None
    name = str(given)
    return name if len(name) <= ID_LENGTH else None


class Sim(Struct, frozen=True, kw_only=True):
    """A SIM as a phone reports it. Only the slot is sure; Android often knows no number."""

    slot: Slot
    number: SimNumber | None = None
    label: Label | None = None
    carrier: Label | None = None
    #: How fast it may send, in its phone's own words.
    pace: PaceSaid | UnsetType | None = UNSET


Receipt = Annotated[
    bool, Meta(description="must be true (ask for a delivery report), false or null")
]


class Draft(Struct, frozen=True, kw_only=True):
    """One SMS that an agent asks to be sent."""

    to: To
    body: Body
    sim: Annotated[
        SimAsked | SimIndex | None,
        Meta(description="must be a slot (0 to 15) or a SIM's number, or null"),
    ] = None
    send_at: SendAt | None = None
    ttl: Ttl | None = None
    expires_at: ExpiresAt | None = None
    priority: Priority | None = None
    receipt: Receipt | None = None

    def __post_init__(self) -> None:
        if fault := contradicted(self):
            raise ValueError(fault)

    @property
    def asks_more(self) -> bool:
        """Whether a field was used that the first clients did not know."""
        asked = (self.send_at, self.ttl, self.expires_at, self.priority, self.receipt)
        return asked != (None, None, None, None, None)


class Wish(Struct, frozen=True):
    """Which SIM an agent asked for: a slot, a number, or (neither) the first connected phone."""

    slot: int | None = None
    number: str | None = None

    @classmethod
    def of(cls, sim: str | int | None) -> Wish:
        """What ``sim`` means (contract section 2)."""
        if sim is None:
            return ANYONE
        slot = slot_of(sim)
        return cls(number=str(sim)) if slot is None else cls(slot=slot)

    @property
    def key(self) -> str:
        """The queue in which a ticket with this wish waits: ``*``, ``slot:0`` or digits."""
        if self.slot is not None:
            return f"slot:{self.slot}"
        return digits(self.number) if self.number else "*"

    @property
    def text(self) -> str | None:
        """The wish as a frame carries it: slot 0 is ``"0"``."""
        return str(self.slot) if self.slot is not None else self.number


ANYONE = Wish()


class Ticket(Struct, frozen=True, kw_only=True):
    """One outbound message on its way: what a phone must know to send it."""

    org_id: str
    id: int
    to: str
    body: str
    sim: str | None
    ref: str
    attempt: int
    #: From then on the phone must not send it. Unix milliseconds; None: whenever it can.
    expires_at: int | None = None
    #: Whether the agent asked to hear if it arrived.
    receipt: bool = False


def new_ref() -> str:
    """16 random bytes in hex that belong to one ticket for its life (contract section 3)."""
    return secrets.token_hex(16)


class Result(Struct, frozen=True, kw_only=True):
    """A phone's word on what became of a ticket. ``sent_at`` is in Unix milliseconds."""

    org_id: str
    id: int
    success: bool
    error: str | None = None
    sent_at: int | None = None
    ref: str | None = None

    @property
    def status(self) -> str:
        return "sent" if self.success else "failed"


class Delivery(Struct, frozen=True, kw_only=True):
    """A phone's word on whether a ticket arrived, as the network told it. ``at`` is in Unix
    milliseconds."""

    org_id: str
    id: int
    delivered: bool
    error: str | None = None
    at: int | None = None
    ref: str | None = None


class KnownSim(Struct, frozen=True, kw_only=True):
    """A SIM that the org ever reported, and when last (RFC 3339)."""

    slot: int
    number: str | None
    label: str | None
    carrier: str | None
    last_seen: str


def jsoned(value: object) -> str:
    """Records as JSON text, the form in which rows travel to Postgres."""
    return msgspec.json.encode(value).decode()
