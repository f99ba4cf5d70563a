"""What an API key may send: to whom, and how many segments a day.

A budget is spent before the tickets are stored, in one statement under its row's lock: over all
nodes no key ever sends more than it may. What was spent for tickets that are surely not stored is
given back; where nobody knows, or the gateway dies between the two, it stays spent until the day
ends. Days are UTC's, by the database's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from smsd.domain.errors import BudgetSpent, Invalid, Unavailable, WrongKey
from smsd.domain.keys import Key
from smsd.domain.numbers import clean
from smsd.domain.records import Draft
from smsd.domain.refusals import misdirected
from smsd.domain.segments import cut
from smsd.store import keys
from smsd.store.database import Database
from smsd.store.waiter import NotYetKnown


class Budgets:
    """The bounds of keys, held to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def direct(self, key: Key, drafts: Sequence[Draft], *, lone: bool) -> None:
        """Raises `Invalid` where the key may not send to one of these."""
        numbers = [clean(draft.to) for draft in drafts]
        if faults := misdirected(key.allowance, numbers, lone=lone):
            raise Invalid("This API key may not send to every number.", errors=faults)

    async def foresee(self, key: Key, drafts: Sequence[Draft], *, lone: bool) -> None:
        """Raises what `sending` would, and spends nothing."""
        self.direct(key, drafts, lone=lone)
        if key.segments_a_day is not None:
            segments = _segments(drafts)
            left, midnight = await self._left(key)
            if segments > left:
                raise _spent(key.segments_a_day, left, segments, midnight)

    @asynccontextmanager
    async def sending(
        self, key: Key, drafts: Sequence[Draft], *, lone: bool
    ) -> AsyncIterator[None]:
        """Within this context the key's holder stores these as tickets; ``lone``: they are not a
        list.

        Raises `Invalid` as `direct` does, `BudgetSpent`, and `WrongKey` where the key was deleted
        meanwhile.
        """
        self.direct(key, drafts, lone=lone)
        if key.segments_a_day is None:
            yield
            return
        segments = _segments(drafts)
        await self._spend(key, key.segments_a_day, segments)
        try:
            yield
        except NotYetKnown:  # they may be stored
            raise
        except Exception:
            with suppress(Unavailable):
                await keys.give_back(self._database, key, segments)
            raise

    async def _spend(self, key: Key, most: int, segments: int) -> None:
        if not await keys.spend(self._database, key, segments):
            left, midnight = await self._left(key)
            raise _spent(most, left, segments, midnight)

    async def _left(self, key: Key) -> tuple[int, int]:
        budget = await keys.budget(self._database, key)
        if budget is None:
            raise WrongKey
        return budget


def _segments(drafts: Sequence[Draft]) -> int:
    return sum(cut(draft.body).segments for draft in drafts)


def _spent(most: int, left: int, segments: int, midnight: int) -> BudgetSpent:
    """``midnight``: in so many seconds."""
    return BudgetSpent(
        f"This API key may send {most:,} segments a day (UTC): {max(0, left):,} are left, and "
        f"this call has {segments:,}.",
        retry_after=midnight,
    )
