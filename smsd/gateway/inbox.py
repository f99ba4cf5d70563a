"""An SMS arrived: store it once, and claim its org in the same commit where it is new.

Whoever posts it over HTTP hears at once when nobody knows whether it is stored, and decides. What
comes over a phone's session is tried again by the gateway itself, so it is held back until that
is known: else one without an id would be stored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from smsd.domain.errors import Unauthorised
from smsd.domain.records import Inbound
from smsd.gateway.bell import Bell
from smsd.gateway.doorman import Caller, Doorman, Newcomer
from smsd.gateway.patience import Patience
from smsd.gateway.quotas import Quotas
from smsd.gateway.visit import Visit
from smsd.store import messages
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import NewMessage
from smsd.store.waiter import Certainty, NotYetKnown

#: What a row weighs in a lane beside its text. Bytes.
ROW = 200


class Inbox:
    """Takes what phones have received; returns after the commit. ``stored`` hears
    of all rows, and the orgs that they belong to."""

    def __init__(
        self,
        database: Database,
        doorman: Doorman,
        patience: Patience,
        quotas: Quotas,
        bell: Bell,
        *,
        stored: Callable[[AbstractSet[str], Sequence[NewMessage]], None],
    ) -> None:
        self._database = database
        self._bell = bell
        self._stored_in = stored
        self._quotas = quotas
        self._doorman = doorman
        self._patience = patience
        self._lane: Batch[list[NewMessage], bool] = Batch(
            "inbound", self._write, certainty=Certainty(self._recall, patience)
        )
        self.lanes = (self._lane,)
        #: SMS that phones were told are safe.
        self.taken = 0

    async def store(
        self,
        who: Caller | Newcomer,
        sms: Sequence[Inbound],
        visit: Visit | None = None,
        *,
        until: float | None = None,
    ) -> int:
        """How many of these are safe in the database now: all of them (contract section 2).

        ``visit`` is of the phone that tells of them, where it is on line. Where nobody knows
        whether they are stored, that is waited for ``until`` then, on the reactor's clock. Raises
        `StorageFull` where the org has no room for them.
        """
        allowed = self._quotas.of(who.org_id)
        if allowed is None:
            return await self._stored(who, sms, visit, until)
        with await self._quotas.arriving(who.org_id, allowed, len(sms)):
            return await self._stored(who, sms, visit, until)

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._lane.drained()

    async def _stored(
        self,
        who: Caller | Newcomer,
        sms: Sequence[Inbound],
        visit: Visit | None,
        until: float | None,
    ) -> int:
        rows = [messages.arrived(who.org_id, one, _reported(one, visit)) for one in sms]
        if isinstance(who, Newcomer):
            _, claimed = await self._doorman.claim(
                who, first=(lambda tx: messages.append(tx, numbered([rows]))) if rows else None
            )
            if claimed:
                self.taken += len(rows)
                return len(rows)
        if rows:
            try:
                stored = await self._put(who.org_id, rows)
            except NotYetKnown as doubt:
                if until is None:
                    raise
                stored = await self._known(doubt, until)
            if not stored:  # the org was deleted between its recognition and now
                raise Unauthorised()
        self.taken += len(rows)
        return len(rows)

    async def _put(self, org_id: str, rows: list[NewMessage]) -> bool:
        size = sum(len(row.body) + ROW for row in rows)
        return await self._lane.put(rows, org_id=org_id, rows=len(rows), size=size)

    async def _known(self, doubt: NotYetKnown, until: float) -> bool:
        known = await self._patience.within(max(0.0, until - self._patience.now), doubt.truth)
        if not known:
            raise doubt
        return bool(known[0])

    async def _write(self, entries: Sequence[list[NewMessage]]) -> list[bool]:
        ids = await messages.append(self._database, rows := numbered(entries))
        org_ids = {row.org_id for row in rows}
        self._bell.ring(*org_ids)
        self._stored_in(org_ids, rows)
        return _safe(entries, ids)

    async def _recall(
        self, entries: Sequence[list[NewMessage]], batch_id: str
    ) -> list[bool] | None:
        ids = await messages.appended(self._database, numbered(entries), batch_id)
        return None if ids is None else _safe(entries, ids)


def numbered(entries: Sequence[list[NewMessage]]) -> list[NewMessage]:
    """All their rows, each of which knows its place in the statement."""
    rows = [row for entry in entries for row in entry]
    for at, row in enumerate(rows):
        row.ord = at
    return rows


def _safe(entries: Sequence[list[NewMessage]], ids: dict[int, int]) -> list[bool]:
    return [all(row.ord in ids for row in entry) for entry in entries]


def _reported(sms: Inbound, visit: Visit | None) -> str | None:
    return visit.number_of(sms.slot) if visit is not None and sms.slot is not None else None
