"""What an org has stored, for whoever asks: looked up, taken back, forgotten.

How tickets come to be is `smsd.gateway.outbox`'s; how a phone is asked for one,
`smsd.gateway.recalls`'.
"""

from __future__ import annotations

from smsd.domain.errors import NotCancellable
from smsd.domain.numbers import address_key
from smsd.domain.query import MessageQuery
from smsd.gateway.bell import Bell
from smsd.gateway.doorman import Caller
from smsd.gateway.recalls import Recalls
from smsd.store import erasure, messages, tickets
from smsd.store.database import Database
from smsd.store.tickets import TicketSeen


class Archive:
    """The messages of all orgs; each caller sees its own."""

    def __init__(self, database: Database, bell: Bell, recalls: Recalls) -> None:
        self._database = database
        self._bell = bell
        self._recalls = recalls

    async def messages(self, caller: Caller, query: MessageQuery) -> bytes:
        """The JSON answer of ``GET /messages``."""
        return await messages.read(self._database, caller.org_id, query)

    async def ticket(self, caller: Caller, id_: int) -> TicketSeen | None:
        """One ticket, with its history."""
        return await tickets.read(self._database, caller.org_id, id_)

    async def cancel(self, caller: Caller, id_: int) -> TicketSeen | None:
        """Take a ticket back, as it is then; None where there is none.

        Where a phone has it, the phone is asked (see `Recalls.ask`). Raises `NotCancellable` where
        it may be at a phone or has ended. It may be repeated.
        """
        if await tickets.cancel(self._database, caller.org_id, id_):
            self._bell.ring(caller.org_id)
        seen = await self.ticket(caller, id_)
        if seen and seen.status == "sending" and await self._recalls.ask(caller.org_id, id_):
            seen = await self.ticket(caller, id_)
        if seen is not None and seen.status != "cancelled":
            raise NotCancellable(_why(seen))
        return seen

    async def forget(self, caller: Caller, address: str) -> int:
        """Delete what this address wrote and was sent; how many messages."""
        return await erasure.forget(self._database, caller.org_id, address_key(address))


def _why(seen: TicketSeen) -> str:
    if seen.status == "sending":
        return "This ticket is sending: a phone has it, and may have sent it."
    if seen.status == "queued":
        return "This ticket is queued once more: a phone had it before, and may have sent it."
    return f"This ticket has ended: it is {seen.status}."
