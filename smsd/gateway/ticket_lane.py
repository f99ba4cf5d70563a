"""Store tickets, many calls in one statement, and find out afterwards where its answer was lost.

Places are promised when a statement goes out, not when a call comes in. With 64 agents and one
phone that answers at once half of all tickets are stored as given to it, where it was one in a
hundred; the others need a second statement, which is a third of Postgres' work for a ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from smsd.domain.errors import Unauthorised
from smsd.gateway.bell import Bell
from smsd.gateway.call import Call
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.inbox import ROW, numbered
from smsd.gateway.patience import Patience
from smsd.store import call_keys, messages
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.messages import NewMessage
from smsd.store.waiter import Certainty

#: A ticket that nobody knew of for so long may have ended before it is pushed: then it is looked
#: at once more. Sooner no timeout strikes, and an agent waits for the answer. Seconds.
LONG_AGO = 3.0


class Stored(NamedTuple):
    """The ids of a call's tickets, and which of them nobody may push any more: they have ended,
    or wait again, while nobody knew that they were there. ``refused``: those of them whose number
    has opted out."""

    ids: list[int]
    gone: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()


Answer = Stored | None


class TicketLane:
    """Where calls wait for their commit. ``time_of_day`` is in seconds since 1970."""

    def __init__(
        self,
        database: Database,
        dispatch: Dispatch,
        patience: Patience,
        bell: Bell,
        time_of_day: Callable[[], float],
    ) -> None:
        self._database = database
        self._dispatch = dispatch
        self._patience = patience
        self._bell = bell
        self._time_of_day = time_of_day
        self._sent = 0.0
        self._batch: Batch[Call, Answer] = Batch(
            "tickets", self._write, certainty=Certainty(self._recall, patience)
        )
        self.lanes = (self._batch,)

    async def store(self, call: Call) -> Stored:
        """All of its rows, committed.

        Raises `Unauthorised` where the org is no more, and `NotYetKnown` where nobody knows.
        """
        rows, size = len(call.drafts), sum(len(draft.body) + ROW for draft in call.drafts)
        stored = await self._batch.put(call, org_id=call.org_id, rows=rows, size=size)
        if stored is None:  # the org was deleted between its recognition and now
            raise Unauthorised()
        return stored

    async def drained(self) -> None:
        """When nothing waits for its commit any more."""
        await self._batch.drained()

    async def _write(self, calls: Sequence[Call]) -> list[Answer]:
        self._sent, now = self._patience.now, self._time_of_day()
        for call in calls:
            call.promise(self._dispatch, now)
        entries = [call.rows for call in calls]
        ids = await messages.append(self._database, numbered(entries))
        self._bell.ring(*{call.org_id for call in calls})
        return _answers(entries, ids)

    async def _recall(self, calls: Sequence[Call], batch_id: str) -> list[Answer] | None:
        entries = [call.rows for call in calls]
        ids = await messages.appended(self._database, numbered(entries), batch_id)
        if ids is None:
            return None
        answers = [
            await self._if_stored(call, answer)
            for call, answer in zip(calls, _answers(entries, ids), strict=True)
        ]
        if self._patience.now - self._sent < LONG_AGO:
            return answers
        return [
            stored and Stored(stored.ids, await self._gone(rows, stored.ids))
            for rows, stored in zip(entries, answers, strict=True)
        ]

    async def _if_stored(self, call: Call, answer: Answer) -> Answer:
        """None where another call had this one's key before."""
        if call.key is None or answer is None:
            return answer
        found = await call_keys.find(self._database, call.org_id, call.key.name)
        return answer if found is not None and found.first_id == answer.ids[0] else None

    async def _gone(self, rows: list[NewMessage], ids: list[int]) -> frozenset[int]:
        """Which of these were stored as a session's and are not so any more."""
        gone: set[int] = set()
        given: dict[str, list[int]] = {}
        for row, id_ in zip(rows, ids, strict=True):
            if row.session_id is not None:
                given.setdefault(row.session_id, []).append(id_)
        for session_id, handed in given.items():
            still, _ = await messages.still_handed(
                self._database, rows[0].org_id, session_id=session_id, ids=handed
            )
            gone |= set(handed) - {ticket.id for ticket in still}
        return frozenset(gone)


def _answers(entries: Sequence[list[NewMessage]], ids: dict[int, int]) -> list[Answer]:
    """To each entry; None where its org does not exist."""
    return [
        _stored([ids[row.ord] for row in entry]) if all(row.ord in ids for row in entry) else None
        for entry in entries
    ]


def _stored(ids: list[int]) -> Stored:
    if min(ids) > 0:
        return Stored(ids)
    return Stored([abs(id_) for id_ in ids], refused=frozenset(-id_ for id_ in ids if id_ < 0))
