"""An org makes, sees, changes, tries and deletes its hooks.

Who may do it is the face's question to the doorman; which events are posted, and when, is the
part of whoever posts them. A URL may hold a secret, so none is ever logged.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

import msgspec
from msgspec.structs import replace
from twisted.logger import Logger

from smsd.domain.errors import (
    EndpointBusy,
    EventsGone,
    Fault,
    HooksFull,
    Invalid,
    ShuttingDown,
    Unauthorised,
    UnknownHook,
)
from smsd.gateway.doorman import Caller
from smsd.outward.attempt import Attempt
from smsd.outward.courier import Courier
from smsd.outward.gates import Gates
from smsd.outward.signature import new_secret
from smsd.outward.urls import RefusedUrl, Target, judge_url
from smsd.store import events, hooks
from smsd.store.database import Database
from smsd.store.hooks import Delivery, HookChange, HookSeen, Kept, NewHook, Signing

#: Test posts that a node has on their way at once, for all orgs.
TESTS = 16
TEST = "hook.test"

_ID = re.compile("[0-9a-f]{12}")

Chance = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class MadeHook:
    """A hook with its secret, which is shown this once."""

    secret: str = field(repr=False)
    seen: HookSeen


class Hooks:
    """The hooks of all orgs, as their people manage them.

    ``courier`` and ``gates`` are those of everything that is posted; an org listens for ``keep``
    seconds from a hook's making; ``stirred`` hears of an org one of whose hooks may have something
    to post by what was said of it; ``now`` gives Unix seconds.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        courier: Courier,
        gates: Gates,
        *,
        keep: float,
        stirred: Callable[[str], None],
        now: Callable[[], float],
        chance: Chance = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._courier = courier
        self._gates = gates
        self._keep = keep
        self._stirred = stirred
        self._now = now
        self._chance = chance
        #: Test posts on their way.
        self.testing = 0
        self._closed = False

    async def make(self, caller: Caller, new: NewHook) -> MadeHook:
        """From its making on, what happens is posted. Raises `Invalid` for a URL that may not be
        called, and `HooksFull`."""
        org_id, hook_id, secret = caller.org_id, self._chance(6).hex(), new_secret(self._chance)
        new = replace(new, url=self._judged(new.url).url)
        await self._listen(org_id)
        if not await hooks.make(self._database, org_id, new, hook_id=hook_id, secret=secret):
            raise HooksFull
        self._stirred(org_id)
        self._log.info("org {org} has made hook {hook}", org=org_id, hook=hook_id)
        return MadeHook(secret, await self.one(caller, hook_id))

    async def all(self, caller: Caller) -> list[HookSeen]:
        """The org's hooks in the order in which they were made."""
        return await hooks.read(self._database, caller.org_id)

    async def one(self, caller: Caller, hook_id: str) -> HookSeen:
        """One of them; raises `UnknownHook`."""
        found = await hooks.read(self._database, caller.org_id, _known(hook_id))
        return found[0] if found else _absent()

    async def change(self, caller: Caller, hook_id: str, to: HookChange) -> HookSeen:
        """As it is afterwards. To enable it, or to give it another URL, is to begin anew at once
        where it stands. Raises `UnknownHook`, and `Invalid` for a URL that may not be called."""
        if to.url is not None:
            to = replace(to, url=self._judged(to.url).url)
        await self.one(caller, hook_id)
        if to.enabled:
            await self._listen(caller.org_id)
        await hooks.change(self._database, caller.org_id, hook_id, to)
        self._stirred(caller.org_id)
        self._log.info("org {org} has changed hook {hook}", org=caller.org_id, hook=hook_id)
        return await self.one(caller, hook_id)

    async def rotate(self, caller: Caller, hook_id: str, overlap: int) -> MadeHook:
        """Another secret; the one before signs beside it for ``overlap`` seconds."""
        org_id, secret = caller.org_id, new_secret(self._chance)
        if not await hooks.rotate(
            self._database, org_id, _known(hook_id), secret=secret, overlap=overlap
        ):
            _absent()
        self._log.info("hook {hook} of org {org} signs anew", org=org_id, hook=hook_id)
        return MadeHook(secret, await self.one(caller, hook_id))

    async def delete(self, caller: Caller, hook_id: str) -> None:
        """Nothing is posted to it any more; raises `UnknownHook`."""
        if not await hooks.delete(self._database, caller.org_id, _known(hook_id)):
            _absent()
        self._log.info("org {org} has deleted hook {hook}", org=caller.org_id, hook=hook_id)

    async def deliveries(
        self, caller: Caller, hook_id: str, *, before_id: int | None, limit: int
    ) -> Sequence[Delivery]:
        """What came of its posts, the newest first; raises `UnknownHook`."""
        found = await hooks.deliveries(
            self._database, caller.org_id, _known(hook_id), before_id=before_id, limit=limit
        )
        return _absent() if found is None else found

    async def replay(self, caller: Caller, hook_id: str, since: int) -> HookSeen:
        """It goes on behind that event, at once. Raises `UnknownHook`, `EventsGone` and, for an
        event that is yet to be, `Invalid`."""
        kept = await hooks.replay(self._database, caller.org_id, _known(hook_id), since)
        _judge_cursor(since, kept or _absent())
        self._stirred(caller.org_id)
        self._log.info(
            "hook {hook} of org {org} goes on behind event {since}",
            org=caller.org_id,
            hook=hook_id,
            since=since,
        )
        return await self.one(caller, hook_id)

    # -- trying one ------------------------------------------------------------------------------

    async def test(self, caller: Caller, hook_id: str) -> Attempt:
        """Post one event that tells of nothing, now; nothing follows from what comes of it.

        Raises `UnknownHook`, `EndpointBusy`, and `Invalid` for a URL that may be called no more.
        """
        signing = await hooks.signing(self._database, caller.org_id, _known(hook_id))
        url, keys = signing or _absent()
        door = self._judged(url).door
        if self._closed:
            raise ShuttingDown(retry_after=1)
        if self.testing >= TESTS or self._gates.full(door):
            raise EndpointBusy(retry_after=1)
        self.testing += 1
        try:
            with self._gates.inside(door):
                return await self._post(caller.org_id, hook_id, Signing(url, keys))
        finally:
            self.testing -= 1

    async def _post(self, org_id: str, hook_id: str, signing: Signing) -> Attempt:
        body = {
            "type": TEST,
            "timestamp": datetime.fromtimestamp(self._now(), UTC),
            "org_id": org_id,
            "data": {"hook": hook_id},
        }
        post_id = f"test_{self._chance(16).hex()}"
        return await self._courier.deliver(
            signing.url, post_id, msgspec.json.encode(body), signing.secrets
        )

    def close(self) -> None:
        """The gateway is shutting down: no test begins any more."""
        self._closed = True

    # -- rules -----------------------------------------------------------------------------------

    def _judged(self, url: str) -> Target:
        try:
            return judge_url(url, self._courier.allow)
        except RefusedUrl as refused:
            fault = Fault(["url"], str(refused))
            raise Invalid("The URL may not be called.", errors=[fault]) from None

    async def _listen(self, org_id: str) -> None:
        if await events.listen(self._database, org_id, self._keep) is None:
            raise Unauthorised


def _judge_cursor(since: int, kept: Kept) -> None:
    if since < kept.first:
        raise EventsGone.below(kept.first)
    if since > kept.last:
        fault = Fault(["since"], f"must be at most {kept.last}, the id of the newest event")
        raise Invalid("The org has no such event yet.", errors=[fault])


def _known(hook_id: str) -> str:
    """The id, where it can be one."""
    return hook_id if _ID.fullmatch(hook_id) else _absent()


def _absent() -> NoReturn:
    raise UnknownHook
