"""Whether requests can be served now, part by part.

Anybody may ask, as often as they like: the database is asked once for all who ask meanwhile, at
most once a second, and its silence is told within the pool's own deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.domain.cause import apart
from smsd.domain.errors import Unavailable
from smsd.store import overview
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.migrate import migrations

OK = "ok"
#: For so long what the database said is good. Seconds.
GOOD_FOR = 1.0

_AWAY = {"database": "the database does not answer", "schema": "not known"}


class Readiness:
    """``serving`` says `OK`, or why no requests are taken; ``lanes`` are those that they need."""

    def __init__(
        self,
        database: Database,
        lanes: Sequence[Batch[Any, Any]],
        *,
        clock: Callable[[], float],
        serving: Callable[[], str],
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._clock = clock
        self._serving = serving
        self._newest = migrations()[-1].version
        self._said: Mapping[str, str] = {}
        self._good_until = clock()
        self._asking: list[Deferred[None]] | None = None

    async def parts(self) -> dict[str, str]:
        """Each part: `OK`, or what is wrong with it, in words."""
        await self._ask()
        return {"listeners": self._serving(), **self._said, "room": self._room()}

    async def missing(self) -> list[str]:
        """What is wrong, in words; nothing where all is well."""
        return wrong_with(await self.parts())

    def _room(self) -> str:
        full = not all(lane.has_room for lane in self._lanes)
        return "more waits to be stored than may" if full else OK

    async def _ask(self) -> None:
        if self._asking is None:
            if self._clock() < self._good_until:
                return
            self._asking = []
            apart(Deferred.fromCoroutine, self._look())
        if self._asking is not None:
            answer: Deferred[None] = Deferred()
            self._asking.append(answer)
            await answer

    async def _look(self) -> None:
        told: Failure | None = None
        try:
            self._said = await self._data()
            self._good_until = self._clock() + GOOD_FOR
        except Exception:
            told = Failure()
        waiting, self._asking = self._asking or [], None
        for answer in waiting:
            answer.callback(None) if told is None else answer.errback(told)

    async def _data(self) -> Mapping[str, str]:
        try:
            version = await overview.schema(self._database)
        except Unavailable:
            return _AWAY
        old = f"the database is at version {version}, not {self._newest}: restart smsd"
        return {"database": OK, "schema": old if version < self._newest else OK}


def wrong_with(parts: Mapping[str, str]) -> list[str]:
    """What is wrong with the parts, in words; a part of which nothing is known is not told of."""
    return [said for said in parts.values() if said not in (OK, _AWAY["schema"])]
