"""What is deleted for good: an org, what one person wrote and was sent, messages that are old.

Always in small batches, each a transaction of its own, so that nobody waits for long. An org's
counter is never deleted: no id is ever used twice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from smsd.store import events, overview
from smsd.store.database import Database, Transaction
from smsd.store.statements import Statement, named

#: Rows that one statement deletes at most: some milliseconds, far below anybody's patience.
BATCH = 1000

_ERASE = named("erase_messages")
_HOLD = named("hold_counter")
_DELETE = named("delete_org")
_OLDER = named("older_statements")
_FORGET = named("forget_address")
_PRUNE = named("prune_messages")
_FORGET_EVENTS = named("forget_events")
_ERASE_EVENTS = named("erase_events")
_ERASE_DELIVERIES = named("erase_deliveries")

Told = Callable[[int], None]


def _nobody(deleted: int) -> None:
    """Nobody wants to hear how far it has got."""


async def erase(database: Database, org_id: str, *, told: Told = _nobody) -> int:
    """Delete the messages, events and deliveries of an org that is closed or no more; how many
    messages. ``told`` hears of each batch."""
    await _in_batches(database, _nobody, _ERASE_DELIVERIES, org_id=org_id)
    await _in_batches(database, _nobody, _ERASE_EVENTS, org_id=org_id)
    return await _in_batches(database, told, _ERASE, org_id=org_id)


async def delete_org(database: Database, org_id: str) -> datetime | None:
    """Delete a closed org that has no messages and no events; when that was, None where it has
    some still.

    Under its counter's lock, which every writer takes first: one that was quicker is seen. One
    that waits for the lock has looked before and will store its messages all the same: they are
    left to `erase` once `writers_since` says that nobody is left who could.
    """

    async def delete(tx: Transaction) -> datetime | None:
        await tx.run(_HOLD, org_id=org_id)
        rows = await tx.run(_DELETE, org_id=org_id)
        return rows[0][0] if rows else None

    return await database.transaction("delete org", delete)


async def erase_strays(database: Database, org_id: str) -> int:
    """Delete what a late writer stored for an org that is no more; how many.

    The counter's lock keeps whoever claims the name again waiting meanwhile: what is seen under
    it is the old org's, or there is a new org and nothing is touched.
    """

    async def sweep(tx: Transaction) -> int:
        await tx.run(_HOLD, org_id=org_id)
        ((deleted,),) = await tx.run(_ERASE, org_id=org_id, most=BATCH)
        return int(deleted)

    total = 0
    while deleted := await database.transaction("erase strays", sweep):
        total += deleted
    return total


async def writers_since(database: Database, moment: datetime) -> bool:
    """Whether a statement of a gateway goes on that began before that moment."""
    ((older,),) = await database.run(_OLDER, moment=moment)
    return bool(older)


async def forget(database: Database, org_id: str, key: str, *, told: Told = _nobody) -> int:
    """Delete what one address (by its `address_key`) wrote and was sent, and the events that tell
    of it, with what was answered to posts of them: those last, for then there is nobody left to
    write more. How many messages."""
    deleted = await _in_batches(database, told, _FORGET, org_id=org_id, address_key=key)
    await _in_batches(database, _nobody, _FORGET_EVENTS, org_id=org_id, address_key=key)
    return deleted


async def prune(database: Database, days: int, *, told: Told = _nobody) -> int:
    """Delete what is older than so many days and has ended, of every org, and events that are as
    old; how many messages."""
    await events.prune_everywhere(database, days * 86_400)
    total = 0
    async for org_id in overview.every_org_id(database):
        total += await _prune_org(database, org_id, days, told)
    return total


async def _prune_org(database: Database, org_id: str, days: int, told: Told) -> int:
    total, after = 0, 0
    while after is not None:
        ((deleted, after),) = await database.run(
            _PRUNE, org_id=org_id, days=days, after=after, most=BATCH
        )
        total += deleted
        told(deleted)
    return total


async def _in_batches(database: Database, told: Told, statement: Statement, **which: object) -> int:
    total, deleted = 0, BATCH
    while deleted == BATCH:
        ((deleted,),) = await database.run(statement, most=BATCH, **which)
        total += deleted
        told(deleted)
    return total
