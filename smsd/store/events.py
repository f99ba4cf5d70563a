"""What happened in an org, in order: who listens, what there is to read, and for how long.

An event is written by the very statement that changes what it tells of, under the lock of its
org's counter; so ids appear in commit order, and whoever walks by them misses nothing. Only orgs
that listen have events. A cursor is the id of the last event that was seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from msgspec import Struct

from smsd.domain.numbers import digits
from smsd.domain.records import Wish
from smsd.store.database import Database
from smsd.store.statements import named

#: Events that one statement deletes at most, and orgs on one page.
BATCH, ORGS = 1000, 200
#: An org goes on listening for this part of the time longer than it must, so that not every reader
#: that comes has to write.
SLACK = 0.05

_LISTEN = named("listen")
_LISTEN_ON = named("listen_on")
_BOUNDS = named("read_bounds")
_READ = named("read_events")
_ORGS = named("orgs_with_events_everywhere")
_PRUNE = named("prune_events")


class Bounds(Struct, frozen=True):
    """Where an org stands: its last message and its last event; with a cursor below ``first``
    something was missed."""

    message: int
    first: int
    last: int


class Event(Struct, frozen=True):
    """``data`` is JSON: the message as ``GET /messages`` shows it, or the phone, as it was then.

    ``message_id`` is None where it tells of a phone.
    """

    id: int
    type: str
    at: datetime
    message_id: int | None
    data: str


class Wanted(Struct, frozen=True):
    """Which events a reader asks for; None: all. One that asks for a direction, an address (by
    its `address_key`) or a SIM hears of messages only, and not of phones."""

    types: tuple[str, ...] | None = None
    direction: str | None = None
    address_key: str | None = None
    sim: str | int | None = None


class Page(Struct, frozen=True):
    """Events in order; ``upto`` is the cursor from which to go on, also where none was found, and
    ``more`` whether there may be some behind it."""

    events: list[Event]
    upto: int
    more: bool
    bounds: Bounds


ALL = Wanted()


async def listen(database: Database, org_id: str, keep: float) -> Bounds | None:
    """The org listens for ``keep`` seconds from now at least; to be said again every hour or so by
    whoever goes on reading. None: there is no such org.

    A reader without a cursor begins at ``last``. What a statement changes that began before may
    come without an event, where nobody listened until now.
    """
    rows = await database.run(_BOUNDS, org_ids=[org_id])
    if rows and rows[0][-1] > keep:
        return Bounds(*rows[0][1:-1])
    rows = await database.run(_LISTEN, org_id=org_id, keep=keep * (1 + SLACK))
    return Bounds(*rows[0]) if rows else None


async def listen_on(database: Database, org_ids: Sequence[str], keep: float) -> None:
    """These orgs have readers still, and listen for ``keep`` seconds from now at least; to be
    said again well within `SLACK` of that time. An org that could not be told of it just now can
    the next time."""
    least, most = keep * (1 + SLACK / 2), keep * (1 + SLACK)
    for at in range(0, len(org_ids), ORGS):
        await database.run(
            _LISTEN_ON, org_ids=list(org_ids[at : at + ORGS]), least=least, keep=most
        )


async def bounds(database: Database, org_ids: Sequence[str]) -> dict[str, Bounds]:
    """Where each of these orgs stands, of those that there are."""
    rows = await database.run(_BOUNDS, org_ids=list(org_ids))
    return {org_id: Bounds(message, first, last) for org_id, message, first, last, _ in rows}


async def read(
    database: Database, org_id: str, after: int, limit: int, wanted: Wanted = ALL
) -> Page | None:
    """The wanted ones of the next ``limit`` events after this cursor. None: there is no such org.

    Whether the cursor is too old is the caller's to say: it is if it is below ``bounds.first``.
    """
    wish = Wish.of(wanted.sim)
    rows = await database.run(
        _READ,
        org_id=org_id,
        after=after,
        limit=limit,
        types=None if wanted.types is None else list(wanted.types),
        direction=wanted.direction,
        address_key=wanted.address_key,
        sim_digits=digits(wish.number) if wish.number else None,
        sim_slot=wish.slot,
    )
    if not rows:
        return None
    message, first, last, looked = rows[0][:4]
    found = [Event(*row[4:]) for row in rows if row[4] is not None]
    upto = max(after, last) if looked is None else looked
    return Page(found, upto, looked is not None, Bounds(message, first, last))


async def prune_everywhere(database: Database, keep: float) -> int:
    """Delete what is older than ``keep`` seconds; how many events."""
    total = 0
    async for org_id in _orgs(database):
        deleted = BATCH
        while deleted == BATCH:
            ((deleted,),) = await database.run(_PRUNE, org_id=org_id, seconds=keep, most=BATCH)
            total += deleted
    return total


async def _orgs(database: Database) -> AsyncIterator[str]:
    after = ""
    while page := await database.run(_ORGS, after=after, most=ORGS):
        for (after,) in page:
            yield after
