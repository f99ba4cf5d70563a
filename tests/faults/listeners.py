"""Everybody who is told what happens in the orgs that listen: readers of ``GET /events``, and hooks
with the endpoint to which they post."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from faults.checker import Checker
from faults.endpoints import Endpoint, Hook
from faults.journal import Journal
from faults.orgs import SECRET, SOMEBODY, Org
from faults.readers import Reader
from faults.web import Line

#: The ends of tickets that are rare enough for a hook of which every other post fails.
RARE = ("ticket.cancelled", "ticket.expired", "ticket.failed")


class Listeners:
    """One reader and one hook or two for each org that listens."""

    def __init__(self, orgs: Sequence[Org], journal: Journal, port: int, chance: Random) -> None:
        ids = [org.id for org in orgs if org.listens]
        self.readers = [Reader(id_, journal, port, Random(chance.random())) for id_ in ids]
        self.hooks = [Hook(id_, address=SOMEBODY) for id_ in ids]
        self.hooks += [Hook(ids[-1], types=RARE)]
        self._port = port
        self._endpoint = Endpoint(journal, Random(chance.random()))

    async def begin(self, checker: Checker) -> None:
        """From now on they are told of everything. The gateway serves, and nobody strikes yet."""
        self._endpoint.open()
        org_ids = [reader.org_id for reader in self.readers]
        await asyncio.to_thread(checker.listen, org_ids)
        last = await asyncio.to_thread(checker.last_events, org_ids)
        for reader in self.readers:
            reader.cursor = last[reader.org_id]
        line = Line(self._port)
        for number, hook in enumerate(self.hooks):
            await self._make(line, hook, self._endpoint.url(hook.org_id, number))
        line.close()

    async def untold(self, checker: Checker) -> int:
        """How many events they have yet to look at."""
        behind = await asyncio.to_thread(checker.hooks_behind)
        last = await asyncio.to_thread(checker.last_events, [r.org_id for r in self.readers])
        return behind + sum(last[reader.org_id] - reader.cursor for reader in self.readers)

    def close(self) -> None:
        """Nobody takes posts any more."""
        self._endpoint.close()

    async def _make(self, line: Line, hook: Hook, url: str) -> None:
        asked = {"url": url, "types": hook.types, "address": hook.address}
        status, made = await line.post(f"/hooks/{hook.org_id}", {"secret_key": SECRET, **asked})
        assert status == 200, made
        hook.id, hook.secret = made["id"], made["secret"]
        self._endpoint.know(url, hook)
