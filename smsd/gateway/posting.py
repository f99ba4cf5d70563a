"""Posts to one hook, event by event, and writes down what came of each.

The hook moves on only in the statement that writes down what came of a post, so a node that dies
posts the last event once more at most, and misses none. The next event goes out after the one
before was taken or given up. Which hook has its turn is `smsd.gateway.postman`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smsd.outward.attempt import Attempt
from smsd.outward.courier import Courier
from smsd.outward.gates import Door, Gates
from smsd.outward.retries import Again, Disabled, Skipped, Taken, Verdict, verdict
from smsd.outward.urls import RefusedUrl, judge_url
from smsd.store import events, posts
from smsd.store.database import Database
from smsd.store.events import Event
from smsd.store.posts import HookKey, Leased, Outcome

#: Events that are read for a hook at once.
PAGE = 100
#: Where all places of an endpoint are taken a hook comes back after so long. Seconds.
FULL = 1.0


class Posting:
    """Posts for the hooks that are this node's.

    ``now`` gives Unix seconds, and ``chance`` numbers from 0 to 1; ``begins`` is told of each post.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        courier: Courier,
        gates: Gates,
        *,
        node_id: str,
        now: Callable[[], float],
        chance: Callable[[], float],
        begins: Callable[[HookKey], None],
    ) -> None:
        self._database = database
        self._courier = courier
        self._gates = gates
        self._node_id = node_id
        self._now = now
        self._chance = chance
        self._begins = begins
        self._under_way: set[Deferred[Attempt]] = set()
        self._closed = False
        #: Posts by what came of them: taken, failed.
        self.posts: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """Posts that are on their way."""
        return len(self._under_way)

    def close(self) -> None:
        """What is on its way is the last."""
        self._closed = True

    def give_up(self) -> None:
        """Nobody waits any longer for what is on its way; it is made again by another life."""
        for going in list(self._under_way):
            going.cancel()

    async def page(self, hook: Leased) -> bool:
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
