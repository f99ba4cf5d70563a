"""Which API keys are good, remembered for a second: a key becomes a `Caller`.

A key is never guessed, so nothing is counted: no failures, no lock. What is known of one is a
second old at most, so that its end is seen on every node within that second; on the node where it
is deleted, at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smsd.domain.allowance import Own
from smsd.domain.credentials import well_formed_org_id
from smsd.domain.errors import WrongKey
from smsd.domain.keys import Key, Scope, fingerprint
from smsd.store import keys
from smsd.store.batch import Batch
from smsd.store.database import Database

#: Seconds.
GOOD_FOR = 1.0
#: Keys that one statement asks for.
ROWS = 200


@dataclass(frozen=True, slots=True)
class _Known:
    key: Key
    until: float


class Keyring:
    """``learn`` hears what is allowed to an org whenever one of its keys is looked up."""

    def __init__(
        self, database: Database, reactor: Any, learn: Callable[[str, Own | None], None]
    ) -> None:
        self._database = database
        self._clock = reactor.seconds
        self._learn = learn
        #: By org and hash. A page is torn out when something has changed: an answer that was
        #: asked for before reaches those who waited, and nobody who asks later.
        self._pages: dict[str, dict[str, _Known]] = {}
        self._lane: Batch[keys.Asked, keys.Recalled | None] = Batch("keys", self._recall, rows=ROWS)
        self.lanes = (self._lane,)

    async def open(self, org_id: str | None, text: str, scopes: tuple[Scope, ...] | None) -> Key:
        """The key with this text; ``scopes`` as `Key.require` takes them.

        Raises `WrongKey`, `MissingScope` or `Unavailable`.
        """
        hashed = fingerprint(text)
        if org_id is None or hashed is None or not well_formed_org_id(org_id):
            raise WrongKey
        page = self._pages.get(org_id)
        known = page.get(hashed) if page else None
        if known is None or known.until <= self._clock():
            known = await self._look_up(org_id, hashed)
        known.key.require(scopes)
        return known.key

    def forget(self, org_id: str) -> None:
        """Something has changed about this org's keys."""
        self._pages.pop(org_id, None)

    def prune(self) -> None:
        """Forget what is out of date."""
        now = self._clock()
        for org_id, page in list(self._pages.items()):
            if all(known.until <= now for known in page.values()):
                del self._pages[org_id]

    async def _look_up(self, org_id: str, hashed: str) -> _Known:
        page = self._pages.setdefault(org_id, {})
        recalled = await self._lane.put(keys.Asked(org_id, hashed), org_id=org_id)
        if recalled is None:
            self._put_away(org_id, page, hashed)
            raise WrongKey
        self._learn(org_id, recalled.limits)
        good_for = GOOD_FOR if recalled.good_for is None else min(GOOD_FOR, recalled.good_for)
        known = page[hashed] = _Known(recalled.key, self._clock() + good_for)
        if not recalled.used_lately:
            await keys.use(self._database, recalled.key)
        return known

    def _put_away(self, org_id: str, page: dict[str, _Known], hashed: str) -> None:
        """What is not good is not kept, lest strangers fill the memory."""
        page.pop(hashed, None)
        if not page and self._pages.get(org_id) is page:
            del self._pages[org_id]

    async def _recall(self, asked: Sequence[keys.Asked]) -> list[keys.Recalled | None]:
        return await keys.recall(self._database, asked)
