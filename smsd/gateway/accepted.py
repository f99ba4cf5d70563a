"""What is answered to whoever hands tickets in, when they are committed."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from smsd.domain.opt_outs import OPTED_OUT
from smsd.gateway.call import Call
from smsd.gateway.outlook import Outlook, Prospects, delayed


class AcceptedTicket(Struct, frozen=True):
    """A ticket as the reply tells of it; ``status`` is what is true at the reply."""

    id: int
    to: str
    status: str
    outlook: Outlook | None = None
    #: Its SIM may not send it before (RFC 3339). None: nothing of the kind is known.
    not_before: str | None = None
    #: Why it has failed; told of numbers that have opted out only.
    error: str | None = None


class Accepted(Struct, frozen=True):
    """Tickets that are committed."""

    device_online: bool
    results: list[AcceptedTicket]
    #: An earlier call stored them; their status is as it is now.
    replayed: bool = False


def failed(ticket: AcceptedTicket) -> AcceptedTicket:
    """The same, whose number has opted out."""
    return replace(ticket, status="failed", not_before=None, error=OPTED_OUT)


def not_before(ticket: AcceptedTicket, seconds: float | None) -> AcceptedTicket:
    """The same, whose SIM may not send it before then (seconds since 1970), if it has to wait."""
    return replace(ticket, not_before=delayed(Outlook(), seconds).not_before)


def foretold(
    tickets: Sequence[AcceptedTicket], call: Call, given: Sequence[bool], prospects: Prospects
) -> list[AcceptedTicket]:
    """A call's tickets with who takes each or what it waits for, but for those that have failed."""
    each = zip(tickets, call.wishes, call.offers, call.rows, given, strict=True)
    look = prospects.outlook
    return [
        one if one.error else replace(one, outlook=look(wish, offer, row.send_at, given=g))
        for one, wish, offer, row, g in each
    ]
