"""``GET /tickets/{OrgId}/{ticket}``: one ticket, with its history."""

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


@route(
    "GET",
    "/tickets/<org_id>/<ticket>",
    identity=Identity.MEMBER,
    scopes=("read",),
    answer=TicketSeen,
    example={
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
        "history": [
            {"what": "accepted", "at": "2026-01-31T12:00:00.123456+00:00"},
            {"what": "given", "at": "2026-01-31T12:00:00.123456+00:00"},
            {"what": "sent", "at": "2026-01-31T12:00:02.654321+00:00"},
        ],
    },
)
async def show_ticket(services: Services, agent: Caller, ticket: str) -> TicketSeen:
    """Show one ticket.

    Where it stands, which phone and SIM have or had it, and when it was accepted, given to a
    phone, last pushed, received by that phone's socket, and sent, as far as that is known.
    """
    seen = await services.outbox.ticket(agent, int(ticket)) if _ID.fullmatch(ticket) else None
    if seen is None:
        raise NotFound("This org has no ticket with this id.")
    return seen
