"""Tickets at their time: those for later are pushed when it comes, those that are too late end.

One question a second for all orgs, however many tickets have a time; of tickets that have none
nobody asks. A ticket of a phone on another node is seen there by that node's poll.
"""

from __future__ import annotations

from twisted.logger import Logger

from smsd.gateway.bell import Bell
from smsd.gateway.feeding import Feeding
from smsd.store import schedule
from smsd.store.database import Database
from smsd.store.schedule import Due


class Schedule:
    """To be told every second that time has passed."""

    _log = Logger()

    def __init__(self, database: Database, feeding: Feeding, bell: Bell) -> None:
        self._database = database
        self._feeding = feeding
        self._bell = bell

    async def turn(self) -> None:
        """What had to wait until now goes on, or ends."""
        async for changed in schedule.pass_everywhere(self._database):
            ended = [ticket for ticket in changed if ticket.status == "expired"]
            for org_id, key in {(t.org_id, t.key) for t in changed if t.status == "queued"}:
                self._feeding.enqueued(org_id, key)
            self._tell(ended)

    def _tell(self, ended: list[Due]) -> None:
        self._bell.ring(*{ticket.org_id for ticket in ended})
        for ticket in ended:
            self._log.info("ticket {org}/{ticket} expired", org=ticket.org_id, ticket=ticket.id)
