"""Posts what happens to the hooks of all orgs: in order, again until it is taken, and durably.

Each hook is a cursor over its org's events. It moves on only in the statement that writes down what
came of a post, so a node that dies posts the last event once more at most, and misses none. The
next event goes out after the one before was taken or given up. Which URL may be called is
`smsd.outward`'s, and so is when a post is made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from smsd.gateway.spawn import Spawn
from smsd.outward.attempt import Attempt
from smsd.outward.courier import Courier
from smsd.outward.gates import Door, Gates
from smsd.outward.retries import Again, Disabled, Skipped, Taken, Verdict, verdict
from smsd.outward.urls import RefusedUrl, judge_url
from smsd.store import events, posts
from smsd.store.database import Database
from smsd.store.events import Event
from smsd.store.posts import HookKey, Leased, Outcome

#: Hooks that a node posts for at once, and events that it reads for one of them.
AT_ONCE, PAGE = 64, 100
#: Where all places of an endpoint are taken a hook comes back after so long. Seconds.
FULL = 1.0
#: At a shutdown posts on their way have so long to be answered; else they are made again after the
#: start. Seconds.
LAST_ANSWERS = 2.0


class Postman:
    """Posts for the hooks that have something to be told.

    ``keep`` is for how many seconds events are kept, ``now`` gives Unix seconds, and ``chance``
    numbers from 0 to 1.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        database: Database,
        courier: Courier,
        gates: Gates,
        spawn: Spawn,
        *,
        node_id: str,
        keep: float,
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._database = database
        self._courier = courier
        self._gates = gates
        self._spawn = spawn
        self._node_id = node_id
        self._keep = keep
        self._now = now
        self._chance = chance
        self._busy: set[HookKey] = set()
        self._under_way: set[Deferred[Attempt]] = set()
        self._taking = self._asked = self._closed = False
        #: Posts by what came of them: taken, failed.
        self.posts: Counter[str] = Counter()

    async def turn(self) -> None:
        """Post for those that have something to be told; every second, and where there is more."""
        self._asked = True
        if self._taking:  # two at once might take a hook twice, which is this node's both times
            return
        self._taking = True
        try:
            while self._asked and not self._closed:
                self._asked = False
                await self._take()
        finally:
            self._taking = False

    async def _take(self) -> None:
        room = AT_ONCE - len(self._busy)
        if room <= 0:
            return
        for hook in await posts.lease(self._database, self._node_id, self._busy, room):
            self._busy.add(hook.key)
            self._spawn("posting to a hook", self._serve(hook))

    async def renew(self) -> None:
        """Orgs with hooks go on listening; well within a twentieth of ``keep``."""
        async for org_ids in posts.orgs_everywhere(self._database):
            await events.listen_on(self._database, org_ids, self._keep)

    def close(self) -> None:
        """The gateway is shutting down: what is on its way is the last, answered or not."""
        self._closed = True
        if self._under_way:
            self._reactor.callLater(LAST_ANSWERS, self._give_up)

    def _give_up(self) -> None:
        for going in list(self._under_way):
            going.cancel()

    async def _serve(self, hook: Leased) -> None:
        more = False
        try:
            more = await self._page(hook)
        except CancelledError:
            pass  # it is posted again by whoever has the hook next
        finally:
            self._busy.discard(hook.key)
        if more:
            await self.turn()

    async def _page(self, hook: Leased) -> bool:
        """Post a page of events; whether there may be more at once."""
        page = await events.read(self._database, hook.key[0], hook.cursor, PAGE, hook.wanted)
        if page is None:
            return False
        if hook.cursor < page.bounds.first:
            self._tell_of_loss(hook, page.bounds.first)
        tries, failing_for = hook.tries, hook.failing_for
        begun = self._now()
        for event in page.events:
            door = self._door(hook)
            if self._closed or (door is not None and self._gates.full(door)):
                await self._let_go(hook, event.id - 1, 0.0 if self._closed else FULL)
                return False
            attempt = await self._post(hook, event, door)
            tries += 1
            if failing_for:
                failing_for = hook.failing_for + self._now() - begun
            judged = verdict(attempt, tries=tries, failing_for=failing_for, chance=self._chance)
            if not await self._note(hook, event, tries, attempt, judged):
                return True
            if not isinstance(judged, Taken):
                return False
            tries, failing_for = 0, 0.0
        await self._let_go(hook, page.upto)
        return page.more

    def _door(self, hook: Leased) -> Door | None:
        """None where the URL may be called no more, which the courier says at each attempt."""
        try:
            return judge_url(hook.url, self._courier.allow).door
        except RefusedUrl:
            return None

    async def _post(self, hook: Leased, event: Event, door: Door | None) -> Attempt:
        org_id, hook_id = hook.key
        going = Deferred.fromCoroutine(
            self._courier.deliver(
                hook.url, f"{hook_id}-{event.id}", told(org_id, event), hook.secrets
            )
        )
        self._under_way.add(going)
        try:
            with self._gates.inside(door) if door else nullcontext():
                return await going
        finally:
            self._under_way.discard(going)

    async def _note(
        self, hook: Leased, event: Event, tries: int, attempt: Attempt, judged: Verdict
    ) -> bool:
        self.posts["taken" if attempt.taken else "failed"] += 1
        outcome = Outcome(
            event_id=event.id,
            attempt=tries,
            taken=attempt.taken,
            done=isinstance(judged, Taken | Skipped),
            pause=judged.seconds if isinstance(judged, Again | Skipped) else 0.0,
            why=judged.why if isinstance(judged, Disabled) else None,
            status=attempt.status,
            error=attempt.error,
            ms=attempt.ms,
            answer=attempt.answer,
        )
        moved = await posts.note(self._database, self._node_id, hook.key, outcome)
        if moved and outcome.why is not None:
            self._log.warn(
                "hook {hook} of org {org} is disabled: {why}",
                hook=hook.key[1],
                org=hook.key[0],
                why=outcome.why,
            )
        return moved

    async def _let_go(self, hook: Leased, upto: int, pause: float = 0.0) -> None:
        await posts.let_go(self._database, self._node_id, hook.key, upto, pause)

    def _tell_of_loss(self, hook: Leased, first: int) -> None:
        self._log.warn(
            "hook {hook} of org {org} has missed events, kept no longer: {since} to {first}",
            hook=hook.key[1],
            org=hook.key[0],
            since=hook.cursor + 1,
            first=first,
        )


def told(org_id: str, event: Event) -> bytes:
    """The body of a post: JSON, the same at every attempt."""
    return msgspec.json.encode(
        {
            "type": event.type,
            "timestamp": event.at,
            "org_id": org_id,
            "id": event.id,
            "data": msgspec.Raw(event.data.encode()),
        }
    )
