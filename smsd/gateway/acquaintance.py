"""What the database last said of an org and an address, remembered for a second.

So the doorman asks nobody in the common case, while a rotation or a failure on another node is
seen within that second; what happens on this node forgets at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.domain.pepper import same
from smsd.store import orgs
from smsd.store.database import Database

GOOD_FOR = 1.0
MOST = 50_000


@dataclass(frozen=True, slots=True)
class Known:
    """An org, as one address may see it. ``hmac``: of the secret that was right from there."""

    verifiers: orgs.Verifiers
    hmac: bytes | None = field(repr=False)
    right_lately: bool
    locked_for: int
    until: float

    def vouches_for(self, seal: bytes) -> bool:
        """Whether this very secret was right from this address lately, and is still right."""
        current = same(seal, self.verifiers.secret_hmac) or same(seal, self.verifiers.old_hmac)
        return same(seal, self.hmac) and current


class Acquaintance:
    """Asks once for all who want to know the same, and remembers the answer for a second."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, dict[str, Known]] = {}
        self._asking: dict[tuple[str, str], list[Deferred[Known | None]]] = {}

    async def of(self, org_id: str, address: str) -> Known | None:
        """What is known, at most a second old; None where there is no such org."""
        known = self._known.get(org_id, {}).get(address)
        if known is not None and known.until > self._clock():
            return known
        return await self._ask(org_id, address)

    async def refresh(self, org_id: str, address: str, known: Known) -> None:
        """Note in the database, at most hourly, that the address is in good standing."""
        if not known.right_lately and known.hmac is not None:
            self._remember(org_id, address, None)
            await orgs.know(self._database, org_id, address, known.hmac)

    def forget(self, org_id: str) -> None:
        """Something has changed about this org."""
        self._known.pop(org_id, None)

    def prune(self) -> None:
        """Forget what is out of date."""
        now = self._clock()
        for org_id, addresses in list(self._known.items()):
            if all(known.until <= now for known in addresses.values()):
                del self._known[org_id]

    async def _ask(self, org_id: str, address: str) -> Known | None:
        place = (org_id, address)
        if place in self._asking:
            answer: Deferred[Known | None] = Deferred()
            self._asking[place].append(answer)
            return await answer
        waiting: list[Deferred[Known | None]] = []
        self._asking[place] = waiting
        try:
            known = await self._look_up(org_id, address)
        except Exception:
            failure = Failure()
            del self._asking[place]
            for answer in waiting:
                answer.errback(failure)
            raise
        del self._asking[place]
        for answer in waiting:
            answer.callback(known)
        return known

    async def _look_up(self, org_id: str, address: str) -> Known | None:
        before = self._known.setdefault(org_id, {})
        recalled = await orgs.recall(self._database, org_id, address)
        if recalled is None:
            self.forget(org_id)
            return None
        known = Known(
            recalled.verifiers,
            recalled.hmac,
            recalled.right_lately,
            recalled.locked_for,
            self._clock() + GOOD_FOR,
        )
        # What was asked before something changed is not remembered after it.
        if self._known.get(org_id) is before:
            self._remember(org_id, address, known)
        return known

    def _remember(self, org_id: str, address: str, known: Known | None) -> None:
        addresses = self._known.setdefault(org_id, {})
        if known is None:
            addresses.pop(address, None)
        elif len(addresses) < MOST:
            addresses[address] = known
