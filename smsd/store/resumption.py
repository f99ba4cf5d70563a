"""Tickets whose connection dropped between the push and the result (contract section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from smsd.domain.records import jsoned
from smsd.store import batches
from smsd.store.database import Database
from smsd.store.messages import Handed
from smsd.store.statements import named

_FIND = named("find_owed")
_AGAIN = named("push_again")
_WAITS = named("note_waits")
_REQUEUE = named("requeue_unconfirmed_everywhere")


class Returned(Struct, frozen=True):
    """A phone that is back, by all that it says of itself (see the statement ``find_owed``)."""

    org_id: str
    device: str
    numbers: list[str]
    nobody: bool
    ord: int = 0


class InDoubt(Struct, frozen=True):
    """A ticket that an earlier session of a phone had: what is known of its last push, and
    whether that was to a phone that keeps a ledger."""

    id: int
    session_id: str
    pushed: bool
    received: bool
    ledger: bool
    waited_ms: int
    #: When it was pushed last (Unix milliseconds), and its rank in its queue then.
    pushed_ms: int = 0
    rank: int = 0

    def was_pushed_behind(self, other: InDoubt) -> bool:
        """Whether the phone was surely given this one later than the other. Ids do not say so, for
        priorities, times and paces come between; of one millisecond they do, of the same rank."""
        apart = self.pushed_ms - other.pushed_ms
        return apart > 1 or (abs(apart) <= 1 and self.rank == other.rank and self.id > other.id)


class Waited(Struct, frozen=True):
    """For how long in all a phone was back without having been given a ticket again."""

    org_id: str
    id: int
    session_id: str
    waited_ms: int


async def find_owed(database: Database, phones: Sequence[Returned]) -> list[list[InDoubt]]:
    """For each phone the tickets in doubt that an earlier session of it had."""
    found: list[list[InDoubt]] = [[] for _ in phones]
    for at, *ticket in await database.run(_FIND, rows=jsoned(phones)):
        found[at].append(InDoubt(*ticket))
    return found


async def push_again(
    database: Database,
    org_id: str,
    tickets: Sequence[InDoubt],
    *,
    session_id: str,
    phone_id: str,
    ledger: bool,
    max_attempts: int,
    detail: str,
) -> Handed:
    """Give the tickets to this session, but end those that were taken ``max_attempts`` times and
    never answered. After `Unanswered` see `smsd.store.messages.handed`."""
    rows = await batches.write(
        database,
        _AGAIN,
        org_id=org_id,
        rows=jsoned([{"id": t.id, "session_id": t.session_id} for t in tickets]),
        session_id=session_id,
        phone_id=phone_id,
        ledger=ledger,
        max_attempts=max_attempts,
        detail=detail,
    )
    return Handed.of(org_id, rows)


async def note_waits(database: Database, waits: Sequence[Waited]) -> None:
    """Remember how long phones were back without these tickets."""
    await database.run(_WAITS, rows=jsoned(waits))


async def requeue_unconfirmed_everywhere(
    database: Database, *, timeout: float, max_attempts: int, detail: str
) -> list[tuple[str, int, str]]:
    """Let tickets that were handed over ``timeout`` seconds ago and never answered wait again;
    (org, id, status) of each."""
    return await database.run(_REQUEUE, timeout=timeout, max_attempts=max_attempts, detail=detail)
