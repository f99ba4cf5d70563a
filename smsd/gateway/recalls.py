"""A ticket that a phone has is taken back by asking the phone for it.

Only one that keeps a ledger can promise never to send it, so no other is asked; and only one that
is on line here. Its answer counts whenever it comes: also to nobody, after a crash that forgot who
had asked, for then the ticket is pushed again and the phone says once more that it gave it back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from smsd.gateway.bell import Bell
from smsd.gateway.patience import Patience
from smsd.gateway.results import Results
from smsd.gateway.roster import Roster
from smsd.gateway.visit import Visit
from smsd.store import tickets
from smsd.store.database import Database

#: For so long the phone's answer is waited for. Seconds.
WITHIN = 5.0


class Recalls:
    """Asks phones for tickets, and takes their answers."""

    def __init__(
        self,
        reactor: Any,
        database: Database,
        roster: Roster,
        results: Results,
        patience: Patience,
        bell: Bell,
    ) -> None:
        self._reactor = reactor
        self._database = database
        self._roster = roster
        self._results = results
        self._patience = patience
        self._bell = bell
        #: Who waits, by session and ticket.
        self._asked: dict[tuple[str, int], list[Deferred[None]]] = {}

    async def ask(self, org_id: str, ticket_id: int) -> bool:
        """Ask the phone that has the ticket for it; returns when it has answered and that is
        committed, or after `WITHIN`. False: there is no phone to be asked."""
        visit = next((v for v in self._roster.of(org_id) if v.can_give_back(ticket_id)), None)
        if visit is None:
            return False
        answer: Deferred[None] = Deferred()
        place = (visit.session_id, ticket_id)
        self._asked.setdefault(place, []).append(answer)
        visit.phone.ask_back(ticket_id)
        try:
            await answer.addTimeout(WITHIN, self._reactor, lambda *_: None)
        finally:
            self._leave(place, answer)
        return True

    async def take(self, visit: Visit, ticket_id: int, *, cancelled: bool) -> str:
        """The phone has answered: ``cancelled``, ``repeated``, ``ignored``, ``unknown`` or, where
        it keeps the ticket, ``refused``; after the commit.

        Kept in memory while the database is away, as results are.
        """
        verdict = "refused"
        if cancelled:
            verdict = await self._take_back(visit, ticket_id)
        else:
            visit.heard_of(ticket_id)
        for answer in list(self._asked.get((visit.session_id, ticket_id), ())):
            if not answer.called:
                answer.callback(None)
        return verdict

    async def _take_back(self, visit: Visit, ticket_id: int) -> str:
        self._results.heard(visit, ticket_id)
        verdict = await self._patience.insist(
            lambda: tickets.cancel_handed(self._database, visit.org_id, ticket_id, visit.session_id)
        )
        if verdict in ("cancelled", "repeated"):
            self._bell.ring(visit.org_id)
            self._results.free(visit, ticket_id)
        return verdict

    def _leave(self, place: tuple[str, int], answer: Deferred[None]) -> None:
        waiting = self._asked[place]
        waiting.remove(answer)
        if not waiting:
            del self._asked[place]
