"""Hearing at once: whoever waits for a message reads it as soon as it is there.

Reads as those do who do not wait, and between two readings sleeps at the bell, at the cost of some
memory. Whoever is cancelled leaves its place at once. At the gateway's end all hear what they
would have heard at the end of their time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from smsd.domain.errors import WrongKey
from smsd.domain.query import MessageQuery
from smsd.gateway.bell import Bell, Ear
from smsd.gateway.doorman import Caller
from smsd.gateway.readings import Readings
from smsd.store import keys, messages
from smsd.store.database import Database

T = TypeVar("T")

#: Whoever was woken for nothing is not woken again so soon: in a busy org most of what happens is
#: nothing to most readers. Seconds.
PAUSE = 0.1
#: At the gateway's end, for so long until all have their answers; longer the database does not
#: take. Seconds.
LAST_ANSWERS = 3.0


class Hearing:
    """Waits for messages; ``at_once`` is how many of those who wait may read at a time."""

    def __init__(self, reactor: Any, database: Database, bell: Bell, at_once: int) -> None:
        self._reactor = reactor
        self._database = database
        self._bell = bell
        self._readings: Readings[Any] = Readings(reactor, at_once)
        #: How many wait.
        self.waiting = 0
        self._ended: Deferred[None] | None = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Whoever is in it waits, and at the gateway's end has time to hear an answer."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
            if not self.waiting and self._ended is not None:
                ended, self._ended = self._ended, None
                ended.callback(None)

    async def drained(self) -> None:
        """When nobody waits any more, after the bell was closed."""
        if self.waiting:
            self._ended = Deferred()
            self._ended.addTimeout(LAST_ANSWERS, self._reactor, lambda *_: None)
            await self._ended

    async def messages(self, caller: Caller, query: MessageQuery) -> bytes:
        """The JSON answer of ``GET /messages`` as soon as it is not empty, and after
        ``query.wait`` seconds as it is; raises what `until` does."""
        plain = replace(query, wait=0.0)
        with self.place():
            return await self.until(
                caller,
                query.wait,
                plain,
                partial(messages.read, self._database, caller.org_id, plain),
                lambda page: not messages.is_empty(page),
                again=query.finds_what_changed,
            )

    async def until(
        self,
        caller: Caller,
        seconds: float,
        what: Hashable,
        read: Callable[[], Awaitable[T]],
        enough: Callable[[T], bool],
        *,
        again: bool,
    ) -> T:
        """What is read first that is enough, or else what was read within so many seconds.

        Those who name the same ``what`` of one org share their readings. ``again``: at the end of
        the time it is read once more, for a row may change on another node and nobody hears of it.
        Raises `WrongKey` where there is something, but the caller's key has ended meanwhile.
        """
        take: Callable[[], Awaitable[T]]
        take = partial(self._readings.take, (caller.org_id, what), read)
        found: T
        ends = self._reactor.seconds() + seconds
        with self._bell.ear(caller.org_id) as ear:
            found, rest = await take(), 0.0
            while not enough(found) and await self._woken(ear, ends, rest):
                found, rest = await take(), PAUSE
        if again and not enough(found):
            found, rest = await take(), PAUSE
        if rest and enough(found):  # it was not there when the caller was let in
            await self._see_key(caller)
        return found

    async def _woken(self, ear: Ear, ends: float, rest: float) -> bool:
        """Whether something may have happened before the time is over."""
        if rest:
            await deferLater(self._reactor, rest)
        left = ends - self._reactor.seconds()
        return left > 0 and await ear.rings(left)

    async def _see_key(self, caller: Caller) -> None:
        if caller.key and await keys.ended(self._database, [caller.key.place]):
            raise WrongKey("This API key has expired or was deleted.")
