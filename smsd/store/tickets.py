"""One ticket, as its org may see it: where it stands, when it was where, what was answered."""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from smsd.store.database import Database
from smsd.store.statements import named

_READ = named("read_ticket")
_CANCEL = named("cancel_ticket")
_CANCEL_HANDED = named("cancel_handed")
_REPLY = named("read_reply")

What = Literal[
    "accepted",
    "given",
    "pushed",
    "received",
    "sent",
    "delivered",
    "failed",
    "cancelled",
    "expired",
]
#: In the order of the columns that the statement gives.
MOMENTS: tuple[What, ...] = (
    "accepted",
    "given",
    "pushed",
    "received",
    "sent",
    "delivered",
    "failed",
    "cancelled",
    "expired",
)


class Moment(Struct, frozen=True):
    """Something that happened to a ticket, and when (RFC 3339)."""

    what: What
    at: str


class TicketSeen(Struct, frozen=True, kw_only=True):
    """A ticket with its history; what is not known is not in it.

    `given`: first to a phone's session. `pushed` and `received` (by the phone's socket) are of the
    last push, and are written down where its session ended without a result. Of `sent`, `failed`,
    `cancelled` and `expired` only the one that it is.
    """

    id: int
    to: str
    body: str
    status: str
    sim_slot: int | None
    sim_number: str | None
    device_id: str | None
    attempts: int
    error: str | None
    error_detail: str | None
    priority: int = 0
    send_at: str | None = None
    expires_at: str | None = None
    receipt: bool = False
    history: list[Moment]


class Heard(NamedTuple):
    """Where a ticket stands, and the first SMS that answers it: the JSON of a message, or None."""

    status: str
    reply: bytes | None


async def read(database: Database, org_id: str, ticket: int) -> TicketSeen | None:
    """The ticket of this org with this id."""
    rows = await database.run(_READ, org_id=org_id, id=ticket)
    return _seen(*rows[0]) if rows else None


async def cancel(database: Database, org_id: str, ticket: int) -> bool:
    """End the ticket, if it is surely at no phone; whether it was. It may be repeated."""
    return bool(await database.run(_CANCEL, org_id=org_id, id=ticket))


async def reply(database: Database, org_id: str, ticket: int) -> Heard | None:
    """What came from the ticket's number on its SIM, behind it; None where there is no ticket."""
    rows = await database.run(_REPLY, org_id=org_id, id=ticket)
    return Heard(rows[0][0], rows[0][1] and rows[0][1].encode()) if rows else None


async def cancel_handed(database: Database, org_id: str, ticket: int, session_id: str) -> str:
    """End the ticket, for its phone gave it back in this session; ``cancelled``, ``repeated``,
    ``ignored`` (the session does not have it any more, or its phone keeps no ledger) or
    ``unknown``. It may be repeated."""
    rows = await database.run(_CANCEL_HANDED, org_id=org_id, id=ticket, session_id=session_id)
    return rows[0][0] if rows else "unknown"


def _seen(
    id_: int,
    to: str,
    body: str,
    status: str,
    sim_slot: int | None,
    sim_number: str | None,
    device_id: str | None,
    attempts: int,
    error: str | None,
    error_detail: str | None,
    priority: int,
    send_at: str | None,
    expires_at: str | None,
    receipt: bool,
    *times: str | None,
) -> TicketSeen:
    return TicketSeen(
        id=id_,
        to=to,
        body=body,
        status=status,
        sim_slot=sim_slot,
        sim_number=sim_number,
        device_id=device_id,
        attempts=attempts,
        error=error,
        error_detail=error_detail,
        priority=priority,
        send_at=send_at,
        expires_at=expires_at,
        receipt=receipt,
        history=[Moment(what, at) for what, at in zip(MOMENTS, times, strict=True) if at],
    )
