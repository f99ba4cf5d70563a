"""An SMS arrived: store it once, and claim its org in the same commit where it is new."""

from __future__ import annotations

from collections.abc import Sequence

from smsd.domain.errors import Unauthorised
from smsd.domain.records import Inbound
from smsd.gateway.doorman import Caller, Doorman, Newcomer
from smsd.gateway.visit import Visit
from smsd.store import messages
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import NewMessage

#: What a row weighs in a lane beside its text. Bytes.
ROW = 200


class Inbox:
    """Takes what phones have received; returns after the commit."""

    def __init__(self, database: Database, doorman: Doorman) -> None:
        self._database = database
        self._doorman = doorman
        self._lane: Batch[list[NewMessage], bool] = Batch("inbound", self._write)

    async def store(
        self, who: Caller | Newcomer, sms: Sequence[Inbound], visit: Visit | None = None
    ) -> int:
        """How many of these are safe in the database now: all of them (contract section 2).

        ``visit`` is of the phone that tells of them, where it is on line.
        """
        rows = [messages.arrived(who.org_id, one, _reported(one, visit)) for one in sms]
        if isinstance(who, Newcomer):
            number_rows(rows)
            _, claimed = await self._doorman.claim(
                who, first=(lambda tx: messages.append(tx, rows)) if rows else None
            )
            if claimed:
                return len(rows)
        if rows:
            size = sum(len(row.body) + ROW for row in rows)
            stored = await self._lane.put(rows, org_id=who.org_id, rows=len(rows), size=size)
            if not stored:  # the org was deleted between its recognition and now
                raise Unauthorised()
        return len(rows)

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._lane.drained()

    async def _write(self, entries: Sequence[list[NewMessage]]) -> list[bool]:
        rows = [row for entry in entries for row in entry]
        number_rows(rows)
        ids = await messages.append(self._database, rows)
        return [all(row.ord in ids for row in entry) for entry in entries]


def number_rows(rows: Sequence[NewMessage]) -> None:
    """Give each row its place in the statement."""
    for at, row in enumerate(rows):
        row.ord = at


def _reported(sms: Inbound, visit: Visit | None) -> str | None:
    return visit.number_of(sms.slot) if visit is not None and sms.slot is not None else None
