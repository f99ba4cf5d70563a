"""A call that carries a key is carried out once, however often it is made.

The tickets and the key are committed by one statement, so no crash comes between them. Of calls
under one key that come at once the second waits for the first; where that one is on another node
the database lets one of them store its tickets, and the other reads what was stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred

from smsd.domain.call_key import CallKey
from smsd.domain.errors import Fault, Invalid, Unauthorised
from smsd.store import call_keys
from smsd.store.call_keys import Earlier
from smsd.store.database import Database

HEADER = "Idempotency-Key"


class Once:
    """Keeps calls under one key apart, and finds those that were carried out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[str, str], list[Deferred[None]]] = {}

    async def earlier(self, org_id: str, key: CallKey) -> Earlier | None:
        """The call that was carried out under this key; raises `Invalid` where it was another."""
        found = await call_keys.find(self._database, org_id, key.name)
        if found is not None and found.fingerprint != key.fingerprint:
            fault = Fault([HEADER], "was used with another body: take a new key for a new call")
            raise Invalid("This key stands for another call.", errors=[fault])
        return found

    async def run(
        self, org_id: str, key: CallKey, first: Callable[[], Awaitable[None]]
    ) -> Earlier | None:
        """Carry the call out, unless it was; then what it made.

        ``first`` raises `Unauthorised` where nothing was stored: the org is gone, or another node
        was quicker under the same key.
        """
        place = (org_id, key.name)
        while place in self._waiting:
            turn: Deferred[None] = Deferred()
            self._waiting[place].append(turn)
            await turn
        with self._alone(place):
            if found := await self.earlier(org_id, key):
                return found
            try:
                await first()
            except Unauthorised:
                if found := await self.earlier(org_id, key):
                    return found
                raise
        return None

    @contextmanager
    def _alone(self, place: tuple[str, str]) -> Iterator[None]:
        self._waiting[place] = []
        try:
            yield
        finally:
            for turn in self._waiting.pop(place):
                turn.callback(None)
