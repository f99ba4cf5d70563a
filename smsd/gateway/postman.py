"""Finds the hooks that have something to be told, of all orgs, and gives each its turn.

Each hook is a cursor over its org's events, which a node takes under a lease. It looks for hooks of
an org after each commit there on this node, as soon as it knows that the org has some, and every
second for those of all. How one is posted to is `smsd.gateway.posting`'s, how many at once
`smsd.gateway.places`'; which URL may be called is `smsd.outward`'s, and so is when a post is made
again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError

from smsd.gateway.bell import Bell
from smsd.gateway.places import Places
from smsd.gateway.posting import Posting
from smsd.gateway.spawn import Spawn
from smsd.outward.courier import Courier
from smsd.outward.gates import Gates
from smsd.store import events, posts
from smsd.store.database import Database
from smsd.store.posts import HookKey, Leased

#: So many hooks of each standing are looked at for those that get a place.
LOOK = 256
#: At a shutdown posts on their way have so long to be answered; else they are made again after the
#: start. Seconds.
LAST_ANSWERS = 2.0
#: From one look to the next, whatever there is to look for, but for those of every second.
#: Seconds.
PAUSE = 0.05


class Postman:
    """Posts for the hooks that have something to be told.

    ``keep`` is for how many seconds events are kept, ``now`` gives Unix seconds, and ``chance``
    numbers from 0 to 1.
    """

    def __init__(
        self,
        reactor: Any,
        database: Database,
        courier: Courier,
        gates: Gates,
        spawn: Spawn,
        bell: Bell,
        *,
        node_id: str,
        keep: float,
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._database = database
        self._spawn = spawn
        self._node_id = node_id
        self._keep = keep
        self._places = Places(reactor.seconds)
        self._posting = Posting(
            database,
            courier,
            gates,
            node_id=node_id,
            now=now,
            chance=chance,
            begins=self._places.begins,
        )
        self._taking = self._asked = self._closed = False
        #: Hooks that were due at the last look and got no place.
        self._left_out = 0
        #: Whether a place has become free for one of these.
        self._freed = False
        #: Orgs that are known to have hooks; others are found when they are first posted for.
        self._orgs: set[str] = set()
        #: Orgs in which something was committed since they were looked at, and hooks that were
        #: posted for meanwhile.
        self._rung: set[str] = set()
        self._missed: set[HookKey] = set()
        self._woken_at = float("-inf")
        self._timers: list[Any] = []
        bell.follow(self._orgs, self.wake)

    @property
    def posts(self) -> Counter[str]:
        """Posts by what came of them: taken, failed."""
        return self._posting.posts

    async def turn(self) -> None:
        """Post for those that have something to be told; every second, and where there is more."""
        self._places.set_aside()
        self._asked = True
        await self._look()

    def wake(self, org_id: str) -> None:
        """Something was committed in an org that has hooks."""
        self._rung.add(org_id)
        self._missed.update(self._places.of(org_id))
        self._look_soon()

    def expect(self, org_id: str) -> None:
        """The org has made a hook, or said something of one."""
        self._orgs.add(org_id)
        self.wake(org_id)

    def _look_soon(self) -> None:
        if self._closed or self._timers:
            return
        wait = self._woken_at + PAUSE - self._reactor.seconds()
        if wait > 0:
            self._timers.append(self._reactor.callLater(wait, self._wake))
        else:
            self._wake()

    def _wake(self) -> None:
        self._timers.clear()
        self._woken_at = self._reactor.seconds()
        self._asked, self._freed = self._asked or self._freed, False
        self._spawn("looking for hooks", self._look())

    async def _look(self) -> None:
        if self._taking:  # two at once might take a hook twice, which is this node's both times
            return
        self._taking = True
        try:
            while (self._asked or self._rung) and not self._closed:
                org_ids = None if self._asked else sorted(self._rung)
                self._asked = False
                self._rung.clear()
                await self._take(org_ids)
        finally:
            self._taking = False

    async def _take(self, org_ids: Sequence[str] | None) -> None:
        busy = self._places.taken()
        due = await posts.due(self._database, self._node_id, busy, LOOK, org_ids)
        chosen = [hook for hook, standing in due if self._places.take(hook, standing)]
        if org_ids is None or len(due) > len(chosen):
            self._left_out = len(due) - len(chosen)
        self._orgs.update(org_id for (org_id, _), _ in due)
        if chosen:
            await self._lease(chosen)

    async def _lease(self, chosen: Sequence[HookKey]) -> None:
        leased: dict[HookKey, Leased] = {}
        try:
            for hook in await posts.lease(self._database, self._node_id, chosen):
                leased[hook.key] = hook
        finally:
            for key in chosen:
                if key not in leased:
                    self._places.leave(key)
        for hook in leased.values():
            self._spawn("posting to a hook", self._serve(hook))

    async def renew(self) -> None:
        """Orgs with hooks go on listening; well within a twentieth of ``keep``."""
        gone = set(self._orgs)  # not those whose first hook is made meanwhile
        async for org_ids in posts.orgs_everywhere(self._database):
            await events.listen_on(self._database, org_ids, self._keep)
            self._orgs.update(org_ids)
            gone.difference_update(org_ids)
        self._orgs.difference_update(gone)

    def close(self) -> None:
        """The gateway is shutting down: what is on its way is the last, answered or not."""
        self._closed = True
        self._posting.close()
        self._cancel_timers()
        if self._posting.under_way:
            self._timers.append(self._reactor.callLater(LAST_ANSWERS, self._give_up))

    def _give_up(self) -> None:
        self._timers.clear()
        self._posting.give_up()

    def _cancel_timers(self) -> None:
        while self._timers:
            self._timers.pop().cancel()

    async def _serve(self, hook: Leased) -> None:
        more = False
        try:
            more = await self._posting.page(hook)
        except CancelledError:
            pass  # it is posted again by whoever has the hook next
        finally:
            self._places.leave(hook.key)
            if self._closed and not self._posting.under_way:
                self._cancel_timers()
        if hook.key in self._missed:
            self._missed.discard(hook.key)
            self.wake(hook.key[0])
        if more:
            self._rung.add(hook.key[0])
        self._freed = self._freed or bool(self._left_out)
        if more or self._freed:
            self._look_soon()
