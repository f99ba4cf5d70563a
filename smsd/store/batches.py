"""Certainty after a lost answer: a write whose commit nobody confirmed is looked up, not guessed.

A write that must not be guessed carries a random batch id, which its statement inserts with the
rest. The look-up is a fence: it inserts the same id as void. Where the write was committed the
primary key says so; where it is still running the fence waits for its end; and where it has not
arrived yet it never will, for however late it comes out of some buffer it meets the void id and
stores nothing. So the look-up is exact at once, and needs no deadline by anybody's clock.

A write that does no more when it is repeated, because it is guarded by the state that it leaves
or says how things are and not what to add, needs no id.
"""

from __future__ import annotations

import uuid
from typing import Any

from smsd.store.connection import Row
from smsd.store.database import Database, Transaction
from smsd.store.statements import Statement, named
from smsd.store.trouble import Unanswered

#: A look-up has so long, so that with a statement's deadline before it callers hear something
#: within 3 s; for so long it waits for the end of the write. Seconds; Postgres' words.
DEADLINE, LOCK_TIMEOUT = 0.6, "300ms"

_HASTEN = named("hasten")
_FENCE = named("fence_batch")
_READ = named("read_batch")
_PRUNE = named("prune_batches_everywhere")


async def write(
    where: Database | Transaction, statement: Statement, **parameters: object
) -> list[Row]:
    """Run a statement that carries a batch id; `Unanswered` then says which."""
    batch_id = str(uuid.uuid4())
    try:
        return await where.run(statement, batch_id=batch_id, **parameters)
    except Unanswered as lost:
        lost.batch_id = batch_id
        raise


async def look_up(database: Database, batch_id: str) -> list[Any] | None:
    """What the batch gave out; None: it stored nothing, and never will.

    Raises `Unavailable` while nobody can say. It may be asked again for an hour.
    """

    async def body(tx: Transaction) -> list[Any] | None:
        await tx.run(_HASTEN, lock_timeout=LOCK_TIMEOUT)
        await tx.run(_FENCE, batch_id=batch_id)
        ((ids,),) = await tx.run(_READ, batch_id=batch_id)
        return ids  # type: ignore[no-any-return]

    return await database.transaction("look up a batch", body, deadline=DEADLINE)


async def prune_everywhere(database: Database) -> None:
    """Forget batches that nobody asks for any more."""
    await database.run(_PRUNE)
