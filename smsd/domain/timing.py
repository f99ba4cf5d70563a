"""When a ticket may be sent: not before a time, not after one, and before or after others.

What an agent may ask for, as rules without a clock; ``now`` is an argument, in seconds since 1970.
That the times are kept to is the work of ``store/sql/schedule.sql`` and of the phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from smsd.domain.errors import Fault

DAY = 86_400
#: So far ahead a ticket may be scheduled, and so long may it live. Seconds.
AHEAD = 30 * DAY
#: The numbers that a priority may be.
PRIORITIES = range(-10, 11)
#: RFC 3339 has no words for what is later. Seconds since 1970.
YEAR_10000 = 253_402_300_800

SendAt = Annotated[
    datetime,
    Meta(
        tz=True,
        description=(
            "must be a time with its offset, as in 2026-01-31T12:00:00+01:00, or null (at once)"
        ),
    ),
]
ExpiresAt = Annotated[
    datetime,
    Meta(
        tz=True,
        description=(
            "must be a time with its offset, as in 2026-01-31T12:00:00+01:00, or null (never)"
        ),
    ),
]
Ttl = Annotated[
    int,
    Meta(ge=1, le=AHEAD, description="must be a number of seconds from 1 to 2,592,000, or null"),
]
Priority = Annotated[
    int,
    Meta(
        ge=PRIORITIES[0],
        le=PRIORITIES[-1],
        description="must be a whole number from -10 to 10, or null",
    ),
]


class Timed(Protocol):
    """Whatever carries what an agent asks for; a draft."""

    @property
    def send_at(self) -> datetime | None: ...
    @property
    def ttl(self) -> int | None: ...
    @property
    def expires_at(self) -> datetime | None: ...


class Timing(Struct, frozen=True):
    """Times in Unix milliseconds. ``send_at`` None: at once; ``expires_at`` None: never, and
    where ``ttl`` is given it is what that comes to by the clock of whoever asked."""

    send_at: int | None = None
    expires_at: int | None = None
    ttl: int | None = None


#: At once, or whenever it can be.
ANYTIME = Timing()


def contradicted(timed: Timed) -> str | None:
    """What is wrong with it whatever the time is."""
    if timed.ttl is not None and timed.expires_at is not None:
        return "give either ttl or expires_at, not both"
    return None


def timing(draft: Timed, now: float) -> Timing:
    """What a draft asks for; a time to send at that has come already is no time."""
    if draft.send_at is None and draft.expires_at is None and draft.ttl is None:
        return ANYTIME
    at = None if draft.send_at is None else _milliseconds(draft.send_at)
    at = at if at is not None and at > now * 1000 else None
    if draft.ttl is not None:
        return Timing(at, (at or int(now * 1000)) + draft.ttl * 1000, draft.ttl)
    return Timing(at, None if draft.expires_at is None else _milliseconds(draft.expires_at))


def untimely(drafts: Iterable[Timed], now: float, *, lone: bool) -> list[Fault]:
    """What of these cannot be, now; ``lone``: the call has only one."""
    return [
        Fault([name] if lone else ["messages", at, name], msg)
        for at, draft in enumerate(drafts)
        if draft.send_at is not None or draft.expires_at is not None
        for name, msg in _untimely(draft, now)
    ]


def _untimely(draft: Timed, now: float) -> Iterator[tuple[str, str]]:
    send_at = draft.send_at.timestamp() if draft.send_at is not None else now
    if send_at > now + AHEAD:
        yield "send_at", "must be at most 30 days ahead"
    if draft.expires_at is None:
        return
    expires_at = draft.expires_at.timestamp()
    if expires_at <= now:
        yield "expires_at", "must be in the future: this time is over"
    elif expires_at <= send_at:
        yield "expires_at", "must be after send_at: it could never be sent"
    elif expires_at >= YEAR_10000:
        yield "expires_at", "must be before the year 10000, in UTC"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
