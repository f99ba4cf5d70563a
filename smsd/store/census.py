"""How many tickets wait, asked now and then on a connection of its own.

So it never takes a place in the pool, where callers may wait for one, and the pool's troubles are
not its own. It asks for a bounded time; where nothing is heard, that is what there is to tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smsd.domain.errors import Unavailable
from smsd.store.connection import OPTIONS, Connection
from smsd.store.statements import named

#: Seconds: for how long an answer is good, and within which there is one, good or bad.
GOOD_FOR, WITHIN = 5.0, 2.0
#: So many tickets of a state are looked at: that takes Postgres a tenth of a second.
MOST = 100_000

_ASK = named("census_everywhere")
_VERSION = named("version")
#: It ends in Postgres as well before we lose interest.
_OPTIONS = f"{OPTIONS} -c statement_timeout=1500ms"


class Counted(Struct, frozen=True):
    """``queued`` and ``sending`` are at most `MOST`; ``oldest`` is for how many seconds the oldest
    of these has waited, None where none does; ``size`` is the whole database's, in bytes; ``paced``
    of them, at most `MOST`, are in queues that are held back."""

    queued: int
    sending: int
    oldest: float | None
    size: int
    paced: int


class Census:
    """What was last heard: whether the database answers at all, and its count, if it gave one.

    ``held_back``: the queues, by org and `Wish.key`, in which tickets wait for the pace of a SIM.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        conninfo: str,
        held_back: Callable[[], Collection[tuple[str, str]]] = tuple,
    ) -> None:
        self._held_back = held_back
        self._reactor = reactor
        self._conninfo = conninfo
        self._connection: Connection | None = None
        self._good_until = -math.inf
        self._waiting: list[Deferred[None]] = []
        self.up = False
        self.counted: Counted | None = None

    async def refresh(self) -> None:
        """Ask again unless the last answer is still good, once for all who want to know; never
        fails."""
        if self._reactor.seconds() < self._good_until:
            return
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if len(self._waiting) == 1:  # nobody's own: whoever asked first may hang up
            Deferred.fromCoroutine(self._ask())
        await turn

    def close(self) -> None:
        """Hang up; whoever waits for an answer hears that there is none."""
        self._good_until = math.inf
        self._cut()
        if not self._waiting:
            self._drop_unusable()

    async def _ask(self) -> None:
        timer = self._reactor.callLater(WITHIN, self._cut)
        self.up, self.counted = False, None
        try:
            self.counted = await self._count()
        except Unavailable:
            pass  # the pool tells of the trouble in the log
        except Exception:
            self._log.failure("the tickets cannot be counted")
        if timer.active():
            timer.cancel()
        self._drop_unusable()
        self._good_until = max(self._good_until, self._reactor.seconds() + GOOD_FOR)
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            turn.callback(None)

    async def _count(self) -> Counted:
        connection = await self._connected()
        await connection.fetch(_VERSION)
        self.up = True
        queues = self._held_back()
        org_ids, sim_keys = [org_id for org_id, _ in queues], [key for _, key in queues]
        asked = {"most": MOST, "org_ids": org_ids, "sim_keys": sim_keys}
        (row,) = await connection.fetch(_ASK, asked)
        return Counted(*row)

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._reactor, lambda _: self._drop_unusable())
            await self._connection.open(self._conninfo, _OPTIONS)
        return self._connection

    def _cut(self) -> None:
        """It may be in the middle of something, and must not be closed before that has ended."""
        if self._connection is not None:
            self._connection.cut()

    def _drop_unusable(self) -> None:
        if self._connection is not None and not self._connection.usable:
            self._connection.close()
            self._connection = None
