"""What phones say became of tickets: written down together, then the places are free again.

A phone's report that an SMS arrived goes the same way, behind the result that it sent before.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from smsd.domain.records import Delivery, Result
from smsd.gateway.bell import Bell
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.feeding import Feeding
from smsd.gateway.patience import Patience
from smsd.gateway.roster import Roster
from smsd.gateway.visit import Visit
from smsd.store import deliveries, messages
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import Told

#: What a phone says of a ticket that it dropped because its time was over.
EXPIRED = "expired"
OUTCOMES = ("sent", "failed", "delivered", "undelivered", "repeated", "ignored", "unknown")


class Results:
    """Takes results from any session of the ticket's org, at any time (contract section 3)."""

    _log = Logger()

    def __init__(
        self,
        database: Database,
        roster: Roster,
        dispatch: Dispatch,
        feeding: Feeding,
        patience: Patience,
        bell: Bell,
    ) -> None:
        self._database = database
        self._bell = bell
        self._roster = roster
        self._dispatch = dispatch
        self._feeding = feeding
        self._patience = patience
        self._lane: Batch[Told | Delivery, str] = Batch("results", self._write)
        self.lanes = (self._lane,)
        #: What phones said of tickets: sent and failed, and what it was told besides.
        self.outcomes = dict.fromkeys(OUTCOMES, 0)

    async def take(self, visit: Visit, result: Result) -> str:
        """``settled``, ``repeated``, ``ignored`` or ``unknown``, after the commit.

        Kept in memory while the database is away: at most as many as a phone may leave
        unanswered, for then it is read no further.
        """
        self.heard(visit, result.id, result.ref)
        told = Told(result, visit.serving("*") if visit.has(result.id) else None)
        verdict = await self._patience.insist(lambda: self._lane.put(told, org_id=result.org_id))
        said = "sent" if result.success else "failed"
        self.outcomes[said if verdict == "settled" else verdict] += 1
        if verdict in ("settled", "repeated"):
            self.free(visit, result.id)
        if verdict == "settled" and not result.success:
            if result.error == EXPIRED:
                self._dispatch.dropped(result.org_id, result.id)
            self._log.info(
                "ticket {org}/{ticket} failed: {error}",
                org=result.org_id,
                ticket=result.id,
                error="phone_failed",
            )
        return verdict

    async def take_delivery(self, visit: Visit, delivery: Delivery) -> str:
        """As `take`, of a report on whether it arrived; ``ignored`` also where nobody asked."""
        self.heard(visit, delivery.id, delivery.ref)
        verdict = await self._patience.insist(
            lambda: self._lane.put(delivery, org_id=delivery.org_id)
        )
        said = "delivered" if delivery.delivered else "undelivered"
        self.outcomes[said if verdict == "settled" else verdict] += 1
        if verdict in ("settled", "repeated"):
            self.free(visit, delivery.id)
        return verdict

    def heard(self, visit: Visit, ticket_id: int, ref: str | None = None) -> None:
        """The phone said what became of the ticket; that is to be written down."""
        visit.answered(ticket_id, ref)
        self._dispatch.answered(visit, ticket_id)

    def free(self, visit: Visit, ticket_id: int) -> None:
        """The ticket needs no place any more, whichever session of its org has it."""
        for holder in (visit, *self._roster.of(visit.org_id)):
            if holder.settled(ticket_id):
                self._feeding.feed(holder)
                return

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._lane.drained()

    async def _write(self, said: Sequence[Told | Delivery]) -> list[str]:
        told = [each for each in said if isinstance(each, Told)]
        verdicts = await messages.settle(self._database, told) if told else []
        self._bell.ring(*{result.org_id for result, _ in told})
        if len(told) == len(said):
            return verdicts
        return await self._write_deliveries(said, verdicts)

    async def _write_deliveries(
        self, said: Sequence[Told | Delivery], verdicts: Sequence[str]
    ) -> list[str]:
        """The reports among what was said, after the results; all verdicts, in their order."""
        reports = [each for each in said if isinstance(each, Delivery)]
        on_reports = iter(await deliveries.settle(self._database, reports))
        on_results = iter(verdicts)
        self._bell.ring(*{report.org_id for report in reports})
        return [next(on_reports if isinstance(e, Delivery) else on_results) for e in said]
