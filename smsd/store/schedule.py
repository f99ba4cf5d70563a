"""Tickets that wait with a time of their own: when it comes they enter their queues, or expire.

The wheel is an index: the database holds the times, so a restart forgets none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from smsd.store.database import Database
from smsd.store.statements import named

#: Tickets whose time has come that one statement changes at most.
TICKETS = 1000

_PASS = named("pass_times_everywhere")


class Due(NamedTuple):
    """A ticket whose time has come; ``status`` is what it is now, ``key`` its queue."""

    org_id: str
    id: int
    status: str
    key: str


async def pass_everywhere(database: Database) -> AsyncIterator[list[Due]]:
    """Let go on, or end, whatever had to wait until now; a batch at a time."""
    full = True
    while full:
        changed = [Due(*row) for row in await database.run(_PASS, most=TICKETS)]
        full = len(changed) == TICKETS
        yield changed
