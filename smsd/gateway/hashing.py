"""argon2id, away from the reactor: in two threads, behind a bounded queue.

It is slow on purpose (40 ms), so it is computed only when an org is claimed or its secret
changed, and verified only when the pepper has changed. All else is decided by the pepper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from smsd.domain.errors import Unavailable

T = TypeVar("T")

THREADS, QUEUE = 2, 200


class Hashing:
    """A small pool that hashes and verifies secrets. Start it before, stop it after use."""

    def __init__(self, reactor: Any, chance: Callable[[], float]) -> None:
        self._reactor = reactor
        self._chance = chance
        self._pool = ThreadPool(0, THREADS, "argon2")
        # OWASP's minimum for argon2id; the library's default would cost five times as much.
        self._argon2 = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        #: How many secrets are being hashed or wait for it.
        self.waiting = 0

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        self._pool.stop()

    async def hash(self, secret: str) -> str:
        """The secret's hash with its parameters; raises `Unavailable` when too many wait."""
        return await self._away(self._argon2.hash, secret)

    async def matches(self, hashed: str, secret: str) -> bool:
        """Whether this is the secret; raises `Unavailable` when too many wait."""
        return await self._away(self._verify, hashed, secret)

    def _verify(self, hashed: str, secret: str) -> bool:
        try:
            return self._argon2.verify(hashed, secret)
        except VerifyMismatchError:
            return False

    async def _away(self, work: Callable[..., T], *arguments: str) -> T:
        if self.waiting >= QUEUE:
            raise Unavailable(
                "Too many orgs are being claimed at once. Try again.",
                retry_after=5 + int(25 * self._chance()),
            )
        self.waiting += 1
        try:
            return await deferToThreadPool(self._reactor, self._pool, work, *arguments)
        finally:
            self.waiting -= 1
