"""What orgs are allowed and how much of it they use; tickets that waited for too long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from smsd.domain.allowance import NAMES, Own
from smsd.domain.records import jsoned
from smsd.store.database import Database, Transaction
from smsd.store.statements import named

#: Orgs that one statement looks at, and tickets that one ends at most.
ORGS, TICKETS = 500, 1000
EXPIRED = "It waited for more than %s seconds (queue_ttl) and was never given to a phone."

_READ = named("read_limits")
_HOLD = named("hold_limits")
_SET = named("set_limits")
_USAGE = named("org_usage")
_COUNT = named("count_messages")
_HOLD_CLAIMS = named("hold_claims")
_ORGS = named("count_orgs_everywhere")
_WITH_TTL = named("orgs_with_ttl_everywhere")
_BY_TTL = named("orgs_by_ttl_everywhere")
_EXPIRE = named("expire_tickets")

_own = msgspec.json.Decoder(Own)


@dataclass(frozen=True, slots=True)
class Usage:
    """How much an org uses: the last id that it was given, tickets that wait, tickets of the last
    minute, and in how many seconds the first of these no longer counts."""

    last_id: int
    queued: int
    sent: int
    sent_for: float


class Stored(Struct, frozen=True):
    """So many messages there were when the last id was this one."""

    last_id: int
    number: int


def own(text: str | None) -> Own | None:
    """A row of limits, as Postgres tells it in JSON."""
    return None if text is None else row(text)


def row(text: str) -> Own:
    """The same of one that is there."""
    return _own.decode(text)


async def read(database: Database, org_ids: Sequence[str]) -> dict[str, Own]:
    """The limits of those of these orgs that have some of their own."""
    rows = await database.run(_READ, org_ids=list(org_ids))
    return {org_id: _own.decode(text) for org_id, text in rows}


async def change(database: Database, org_id: str, changed: Callable[[Own], Own]) -> Own:
    """Change the limits of an org; what they are from now on.

    Raises `DataRefused` where there is no such org.
    """

    async def body(tx: Transaction) -> Own:
        ((text,),) = await tx.run(_HOLD, org_id=org_id)
        new = changed(_own.decode(text))
        prefixes = None if new.to_prefixes is None else list(new.to_prefixes)
        values = {name: getattr(new, name) for name in NAMES}
        await tx.run(_SET, org_id=org_id, **{**values, "to_prefixes": prefixes})
        return new

    return await database.transaction("change limits", body)


async def usage(database: Database, org_id: str, *, queued: int, sends: int) -> Usage:
    """How much the org uses, counted up to so many."""
    ((last_id, waiting, sent, sent_for),) = await database.run(
        _USAGE, org_id=org_id, queued=queued, sends=sends
    )
    return Usage(last_id, waiting, sent, sent_for)


async def stored(database: Database, org_id: str, *, most: int) -> Stored:
    """How many messages the org has, counted up to so many."""
    ((last_id, number),) = await database.run(_COUNT, org_id=org_id, most=most)
    return Stored(last_id, number)


async def hold_claims(tx: Transaction) -> None:
    """Let nobody else claim an org before this transaction ends."""
    await tx.run(_HOLD_CLAIMS)


async def orgs_exceed(where: Database | Transaction, most: int) -> bool:
    """Whether there are more orgs than that."""
    ((number,),) = await where.run(_ORGS, most=most + 1)
    return bool(number > most)


async def expire_everywhere(
    database: Database, default_ttl: int
) -> AsyncIterator[list[tuple[str, int]]]:
    """End tickets that waited for too long, a batch at a time: (org, id) of each."""
    async for page in _orgs_with_ttl(database, default_ttl):
        rows = jsoned([{"org_id": org_id, "ttl": ttl} for org_id, ttl in page])
        expired = True
        while expired:
            ended = await database.run(_EXPIRE, rows=rows, most=TICKETS, detail=EXPIRED)
            expired = len(ended) == TICKETS
            yield [(org_id, id_) for org_id, id_ in ended]


async def _orgs_with_ttl(database: Database, default: int) -> AsyncIterator[list[tuple[str, int]]]:
    after = ""
    while page := await _page(database, default, after):
        yield page
        after = page[-1][0]


async def _page(database: Database, default: int, after: str) -> list[tuple[str, int]]:
    if default:
        return await database.run(_BY_TTL, queue_ttl=default, after=after, most=ORGS)
    return await database.run(_WITH_TTL, after=after, most=ORGS)
