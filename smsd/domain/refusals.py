"""What a call is told that would exceed a limit of its org: which one, how far it is used, what
to do. Pure: who counts is `smsd.gateway.tally`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

from msgspec import Struct

from smsd.domain.allowance import Allowance
from smsd.domain.errors import Fault, Problem, QueueFull, StorageFull, TooManySends

#: How long to wait where nobody can say when there will be room. Seconds.
FOR_A_PHONE, FOR_ROOM, MINUTE = 10, 60, 60


class Used(Struct, frozen=True):
    """How much an org uses; the first ticket of the minute ``sent`` stops counting in
    ``sent_for`` seconds."""

    stored: int = 0
    queued: int = 0
    sent: int = 0
    sent_for: float = 0.0


class Asked(Struct, frozen=True):
    """What a call brings: messages that arrived, and tickets."""

    arrivals: int = 0
    sends: int = 0


def refusal(allowed: Allowance, used: Used, asked: Asked) -> Problem | None:
    """Why this call is one too many; None where it is not."""
    return next(_refusals(allowed, used, asked), None)


def misdirected(allowed: Allowance, numbers: Iterable[str], *, lone: bool) -> list[Fault]:
    """Which of these numbers, cleaned, may not be sent to; ``lone``: the call has only one."""
    msg = f"must begin with one of: {', '.join(allowed.to_prefixes)}"
    return [
        Fault(["to"] if lone else ["messages", at, "to"], msg)
        for at, number in enumerate(numbers)
        if not allowed.allows(number)
    ]


def _refusals(allowed: Allowance, used: Used, asked: Asked) -> Iterator[Problem]:
    if _over(allowed.max_stored, used.stored, asked.arrivals + asked.sends):
        yield StorageFull(
            f"{_said('messages may be stored', 'max_stored', allowed.max_stored, used.stored)}; "
            f"this brings {asked.arrivals + asked.sends:,}. Delete some "
            "(DELETE /messages/{OrgId}?address=…), or ask the gateway's operator for room.",
            retry_after=FOR_ROOM,
        )
    if _over(allowed.max_queued, used.queued, asked.sends):
        yield QueueFull(
            f"{_said('tickets may wait', 'max_queued', allowed.max_queued, used.queued)}; "
            f"this call has {asked.sends:,}. Send again, or fewer, when phones have taken some.",
            retry_after=FOR_A_PHONE,
        )
    if _over(allowed.max_sends_per_minute, used.sent, asked.sends):
        most = allowed.max_sends_per_minute
        yield TooManySends(
            f"{_said('messages a minute may be sent', 'max_sends_per_minute', most, used.sent)}; "
            f"this call has {asked.sends:,}. Wait, or send fewer at a time.",
            retry_after=max(1, ceil(used.sent_for)) if used.sent_for > 0 else MINUTE,
        )


def _over(most: int, used: int, more: int) -> bool:
    return bool(most and more and used + more > most)


def _said(what: str, name: str, most: int, used: int) -> str:
    return f"At most {most:,} {what} in this org ({name}), {used:,} of them used"
