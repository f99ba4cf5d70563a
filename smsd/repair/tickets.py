"""``smsd phones``, ``smsd tickets`` and ``smsd ticket …``: what is on line, and what is stuck."""

from __future__ import annotations

from smsd.repair.declared import Option, command
from smsd.repair.desk import Desk
from smsd.repair.endings import Misused, NotAllowed, NotThere
from smsd.repair.orgs import there
from smsd.repair.terminal import Cells, cells
from smsd.store import overview, remedies
from smsd.store.overview import PhoneSeen, TicketSeen
from smsd.store.remedies import Standing

#: A ticket is stuck that has not moved for so long. Seconds.
STUCK = 60.0
FAILED = "The operator ended it; it may have been sent before."

PHONES = ("org_id", "phone", "sims", "connected_at")
TICKETS = ("org_id", "id", "status", "to", "sim", "since", "attempts", "why")

ONLY_ORG = Option("org", "Only of this org. [default: of all]")
WHOSE = Option("org", "The org whose ticket it is.")
ONLY_STUCK = Option("stuck", "Only what has not moved for more than a minute.", False)
LIMIT = Option("limit", "At most so many. [default: 100]", "100")


@command("phones", options=[ONLY_ORG])
async def phones(desk: Desk) -> None:
    """List the phones on line, with their SIMs."""
    org_id = await _only(desk)
    found = [_phone(phone) for phone in await overview.phones(desk.database, org_id)]
    desk.terminal.rows(PHONES, found, empty="No phone is on line.")


@command("tickets", options=[ONLY_ORG, ONLY_STUCK, LIMIT])
async def tickets(desk: Desk) -> None:
    """List the tickets that have not ended, oldest first, and what each of them waits for."""
    org_id, most = await _only(desk), desk.number("limit", 1, 100_000)
    seconds = STUCK if desk.asked["stuck"] else 0.0
    found = await overview.open_tickets(desk.database, org_id, seconds=seconds, most=most + 1)
    desk.terminal.rows(TICKETS, [_ticket(one) for one in found[:most]], empty="There is none.")
    if len(found) > most:
        desk.terminal.tell(f"These are the first {most:,}; --limit shows more.")


@command("ticket requeue", "ID", options=[WHOSE])
async def requeue(desk: Desk, number: str) -> None:
    """Let a ticket that is with a phone which is gone wait again, for any phone that fits."""
    org_id, ticket_id, standing = await _standing(desk, number)
    if standing.status != "sending":
        raise NotAllowed(f"Ticket {ticket_id} is {standing.status}: {_why_not[standing.status]}")
    if standing.held:
        raise NotAllowed(
            f"A phone on line holds ticket {ticket_id} and may answer any time. "
            f"`smsd ticket fail {ticket_id} --org {org_id}` gives it up."
        )
    desk.terminal.confirm(
        f"Ticket {ticket_id} was given to a phone and may have been sent: if it is queued again, "
        "it may be sent twice. Queue it?"
    )
    if not await remedies.requeue(desk.database, org_id, ticket_id):
        raise NotAllowed(f"Ticket {ticket_id} has moved meanwhile; look again.")
    desk.terminal.done(
        f"Ticket {ticket_id} waits again.", org_id=org_id, id=ticket_id, status="queued"
    )


_why_not = {
    "queued": "it waits already.",
    "sent": "it has been sent.",
    "failed": "it has ended; send the SMS anew if it is still wanted.",
    "cancelled": "its org took it back; send the SMS anew if it is still wanted.",
}


@command("ticket fail", "ID", options=[WHOSE])
async def fail(desk: Desk, number: str) -> None:
    """End a ticket that has not ended, with the error failed_by_operator."""
    org_id, ticket_id, standing = await _standing(desk, number)
    if standing.status not in ("queued", "sending"):
        raise NotAllowed(f"Ticket {ticket_id} is {standing.status}, which is an end.")
    doubt = " It was given to a phone, and may have been sent." if standing.attempts else ""
    desk.terminal.confirm(f"End ticket {ticket_id}?{doubt}")
    detail = FAILED if standing.attempts else "The operator ended it; it was never sent."
    if not await remedies.fail(desk.database, org_id, ticket_id, detail):
        raise NotAllowed(f"Ticket {ticket_id} has moved meanwhile; look again.")
    desk.terminal.done(
        f"Ticket {ticket_id} has failed.", org_id=org_id, id=ticket_id, status="failed"
    )


async def _only(desk: Desk) -> str | None:
    org_id: str | None = desk.asked["org"]
    if org_id is not None:
        await there(desk, org_id)
    return org_id


async def _standing(desk: Desk, number: str) -> tuple[str, int, Standing]:
    org_id = desk.asked["org"]
    if org_id is None:
        raise Misused("Say whose ticket: --org ORG. Each org has ids of its own.")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise Misused(f"{number!r} is no id of a ticket.")
    await there(desk, org_id)
    standing = await remedies.find(desk.database, org_id, int(number))
    if standing is None:
        raise NotThere(f"Org {org_id} has no ticket {number}.")
    return org_id, int(number), standing


def _phone(phone: PhoneSeen) -> Cells:
    name = phone.phone_id.removeprefix("device:")
    sims = [f"{sim['slot']}:{sim['number'] or '?'}" for sim in phone.sims]
    known = None if phone.phone_id.startswith("sims:") or name == "?" else name
    return {**cells(phone), "phone": known, "sims": sims}


def _ticket(ticket: TicketSeen) -> Cells:
    since = ticket.created_at if ticket.status == "queued" else ticket.handed_at
    return {**cells(ticket), "since": since, "why": _why(ticket)}


def _why(ticket: TicketSeen) -> str:
    if ticket.status == "queued":
        return "waits for its SIM, or its turn" if ticket.org_on_line else "no phone is on line"
    if ticket.held:
        return "a phone on line has it"
    if ticket.received:
        return "a phone took it, and went without a result"
    return "its phone went before a receipt" if ticket.pushed else "what became of it is unknown"
