"""The parts of a node that metrics are read from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smsd.domain.tallies import Spread
from smsd.gateway.attendance import Attendance
from smsd.gateway.doorman import Doorman
from smsd.gateway.feeding import Feeding
from smsd.gateway.hashing import Hashing
from smsd.gateway.hearing import Hearing
from smsd.gateway.inbox import Inbox
from smsd.gateway.outbox import Outbox
from smsd.gateway.results import Results
from smsd.gateway.resumption import Resumption
from smsd.gateway.roster import Roster
from smsd.gateway.streams import Streams
from smsd.gateway.upkeep import Upkeep
from smsd.phone.factory import LinkFactory
from smsd.rest.api import Api
from smsd.rest.site import Site
from smsd.store.batch import Batch
from smsd.store.census import Census
from smsd.store.database import Database


@dataclass(frozen=True)
class Sources:
    """All that is looked at; looking changes nothing."""

    site: Site
    api: Api
    links: LinkFactory
    doorman: Doorman
    hashing: Hashing
    inbox: Inbox
    outbox: Outbox
    hearing: Hearing
    streams: Streams
    feeding: Feeding
    resumption: Resumption
    results: Results
    attendance: Attendance
    roster: Roster
    upkeep: Upkeep
    database: Database
    census: Census
    lag: Spread

    def lanes(self) -> Iterator[Batch[Any, Any]]:
        """Every lane of batches, by whoever has it."""
        for part in (
            self.inbox,
            self.outbox,
            self.results,
            self.attendance,
            self.feeding,
            self.resumption,
            self.doorman,
        ):
            yield from part.lanes
