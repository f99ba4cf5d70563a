"""``/tickets/{OrgId}/{ticket}``: one ticket, with its history; and it is cancelled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smsd.domain.errors import NotFound
from smsd.rest.identity import Identity
from smsd.rest.route import route
from smsd.store.tickets import TicketSeen

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller
    from smsd.rest.services import Services

_ID = re.compile(r"[1-9][0-9]{0,17}")


_TICKET = {
    "id": 5,
    "to": "+15553334444",
    "body": "hi",
    "status": "sent",
    "sim_slot": 0,
    "sim_number": "+15550001111",
    "device_id": None,
    "attempts": 1,
    "error": None,
    "error_detail": None,
    "priority": 0,
    "send_at": None,
    "expires_at": None,
    "receipt": False,
    "history": [
        {"what": "accepted", "at": "2026-01-31T12:00:00.123456+00:00"},
        {"what": "given", "at": "2026-01-31T12:00:00.123456+00:00"},
        {"what": "sent", "at": "2026-01-31T12:00:02.654321+00:00"},
    ],
}
_CANCELLED = {
    **_TICKET,
    "status": "cancelled",
    "attempts": 0,
    "history": [
        {"what": "accepted", "at": "2026-01-31T12:00:00.123456+00:00"},
        {"what": "cancelled", "at": "2026-01-31T12:00:09.876543+00:00"},
    ],
}


@route(
    "GET",
    "/tickets/<org_id>/<ticket>",
    identity=Identity.MEMBER,
    scopes=("read",),
    answer=TicketSeen,
    example=_TICKET,
)
async def show_ticket(services: Services, agent: Caller, ticket: str) -> TicketSeen:
    """Show one ticket.

    Where it stands, which phone and SIM have or had it, and when it was accepted, given to a
    phone, last pushed, received by that phone's socket, and sent or ended without that, as far as
    that is known.
    """
    return _found(await services.archive.ticket(agent, _id(ticket)))


@route(
    "DELETE",
    "/tickets/<org_id>/<ticket>",
    identity=Identity.MEMBER,
    scopes=("send",),
    answer=TicketSeen,
    example=_CANCELLED,
)
async def cancel_ticket(services: Services, agent: Caller, ticket: str) -> TicketSeen:
    """Cancel a ticket.

    As long as it waits and no phone can have it, or a connected phone that keeps a ledger has it
    and gives it back within 5 seconds. Otherwise 409, which says how it is. To cancel it once more
    is no error.
    """
    return _found(await services.archive.cancel(agent, _id(ticket)))


def _id(ticket: str) -> int:
    if not _ID.fullmatch(ticket):
        raise _absent()
    return int(ticket)


def _found(seen: TicketSeen | None) -> TicketSeen:
    if seen is None:
        raise _absent()
    return seen


def _absent() -> NotFound:
    return NotFound("This org has no ticket with this id.")
