"""Calls that carry a key: which tickets each made. `messages.append` writes them down, in the
statement that stores the tickets."""

from __future__ import annotations

from typing import NamedTuple

from smsd.store.database import Database
from smsd.store.statements import named

_FIND = named("find_call")
_PRUNE = named("prune_calls_everywhere")


class Earlier(NamedTuple):
    """A call that was carried out: its fingerprint, its first ticket, and what became of each
    ticket so far (``deleted`` where it is gone), and the ids of those that ended because their
    number has opted out. Its ids follow each other."""

    fingerprint: str
    first_id: int
    statuses: list[str]
    refused: list[int]

    @property
    def ids(self) -> list[int]:
        return list(range(self.first_id, self.first_id + len(self.statuses)))


async def find(database: Database, org_id: str, key: str) -> Earlier | None:
    """The call of this org that carried this key."""
    rows = await database.run(_FIND, org_id=org_id, key=key)
    return Earlier(*rows[0]) if rows else None


async def prune_everywhere(database: Database, days: int) -> None:
    """Forget keys that were used longer ago than so many days."""
    await database.run(_PRUNE, days=days)
