"""What an operator wants to see: orgs, phones on line, tickets that have not ended.

Nothing here changes anything; see `smsd.store.remedies` and `smsd.store.erasure`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from smsd.store.database import Database
from smsd.store.orgs import FAILURE_WINDOW
from smsd.store.phones import NODE_TIMEOUT
from smsd.store.statements import named

PAGE = 500

_ORGS = named("read_orgs_everywhere")
_DESCRIBE = named("describe_org")
_NAMES = named("orgs_after_everywhere")
_PHONES = named("read_phones_everywhere")
_TICKETS = named("open_tickets_everywhere")
_SCHEMA_IS_THERE = named("schema_is_there")
_SCHEMA = named("schema_version")


class OrgSeen(Struct, frozen=True):
    """An org in a list. ``state``: open, locked (for strangers) or closed."""

    org_id: str
    state: str
    created_at: datetime
    phones: int
    queued: int
    sending: int
    last_id: int


class OrgDetails(Struct, frozen=True):
    """What else there is to know of an org; ``messages`` is at most a million."""

    locked_until: datetime | None
    old_secret_until: datetime | None
    failures: int
    known_sims: int
    api_keys: int
    messages: int
    queued_since: datetime | None
    sending_since: datetime | None


class PhoneSeen(Struct, frozen=True):
    """A phone on line; ``phone_id`` as `smsd.gateway.visit.Visit.phone_id`."""

    org_id: str
    phone_id: str
    sims: list[dict[str, Any]]
    connected_at: datetime
    node_id: str


class TicketSeen(Struct, frozen=True):
    """A ticket that has not ended. ``held``: by a phone that is on line; ``pushed`` and
    ``received`` are what is known of its last push."""

    org_id: str
    id: int
    status: str
    to: str
    sim: str | None
    created_at: datetime
    handed_at: datetime | None
    attempts: int
    org_on_line: bool
    held: bool
    pushed: bool
    received: bool


async def orgs(database: Database, after: str = "", *, most: int = PAGE) -> list[OrgSeen]:
    """A page of orgs, in the order of their names."""
    return await _orgs(database, after, None, most)


async def org(database: Database, org_id: str) -> OrgSeen | None:
    """One org, or None where there is no such org."""
    found = await _orgs(database, "", org_id, 1)
    return found[0] if found else None


async def details(database: Database, org_id: str) -> OrgDetails | None:
    """The rest of what there is to know of it."""
    rows = await database.run(_DESCRIBE, org_id=org_id, window=FAILURE_WINDOW)
    return OrgDetails(*rows[0]) if rows else None


async def every_org_id(database: Database) -> AsyncIterator[str]:
    """The names of all orgs, a page at a time; orgs may come and go meanwhile."""
    after = ""
    while names := await database.run(_NAMES, after=after, most=PAGE):
        for (org_id,) in names:
            yield org_id
        ((after,),) = names[-1:]


async def phones(database: Database, org_id: str | None = None) -> list[PhoneSeen]:
    """Phones on line at nodes that are alive: of one org, or of all."""
    rows = await database.run(_PHONES, org_id=org_id, node_timeout=NODE_TIMEOUT)
    return [PhoneSeen(*row) for row in rows]


async def open_tickets(
    database: Database, org_id: str | None = None, *, seconds: float = 0.0, most: int = PAGE
) -> list[TicketSeen]:
    """Tickets that wait, or are with a phone, for longer than so many seconds."""
    rows = await database.run(
        _TICKETS, org_id=org_id, seconds=seconds, most=most, node_timeout=NODE_TIMEOUT
    )
    return [TicketSeen(*row) for row in rows]


async def schema(database: Database) -> int:
    """Up to which migration the database was brought; 0 where no gateway has ever used it."""
    ((is_there,),) = await database.run(_SCHEMA_IS_THERE)
    if not is_there:
        return 0
    ((version,),) = await database.run(_SCHEMA)
    return int(version)


async def _orgs(database: Database, after: str, org_id: str | None, most: int) -> list[OrgSeen]:
    rows = await database.run(
        _ORGS, after=after, org_id=org_id, most=most, node_timeout=NODE_TIMEOUT
    )
    return [OrgSeen(*row) for row in rows]
