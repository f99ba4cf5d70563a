"""Programs that each do one thing over and over for one org, each call of theirs again until it is
known what became of it. What they do is `faults.subscribers`', `faults.planners`' and
`faults.askers`'."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from faults.journal import OK, REFUSED, UNKNOWN, Journal
from faults.orgs import SECRET, Org
from faults.web import Line, NoAnswer, NobodyThere

#: Between two turns, on the average. Seconds.
PAUSE = 0.7


class Regular:
    """Has its turn again and again, from `start` to `stop`."""

    #: How its calls are named in the journal.
    way = "send"

    def __init__(self, journal: Journal, port: int, org: Org, chance: Random) -> None:
        self._journal = journal
        self._line = Line(port)
        self._org = org
        self._chance = chance
        self._over = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """What its org has to be asked for once, while nobody strikes."""

    def start(self) -> None:
        """Until `stop`."""
        self._over.clear()
        self._life = asyncio.create_task(self._live())

    async def stop(self) -> None:
        """After the turn that it is at."""
        self._over.set()
        if self._life is not None:
            await self._life

    async def turn(self) -> None:
        """What it does over and over."""
        raise NotImplementedError

    async def _live(self) -> None:
        while not self._over.is_set():
            await self.turn()
            await asyncio.sleep(PAUSE * self._chance.uniform(0.5, 1.5))
        self._line.close()

    async def send(self, path: str, words: Sequence[str], **body: Any) -> dict[str, Any]:
        """The answer to a call that hands in tickets, under a key of its own."""
        return await self.insist(path, words, key=f"key-{words[0]}", **body)

    async def insist(
        self, path: str, words: Sequence[str] = (), *, key: str | None = None, **body: Any
    ) -> dict[str, Any]:
        """The answer, however often the call has to be made; {} where it was refused."""
        while True:
            self._journal.hand_in(self.way, self._org.id, list(words), keyed=True)
            began = time.monotonic()
            try:
                status, answer = await self._line.post(path, {"secret_key": SECRET, **body}, key)
            except NoAnswer as trouble:
                self._journal.end(self.way, UNKNOWN, began)
                await asyncio.sleep(0.1 if isinstance(trouble, NobodyThere) else 0.02)
                continue
            self._journal.end(self.way, self._outcome(status), began)
            if status < 500 and not self.too_early(status):
                return answer if status == 200 else {}
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))

    def too_early(self, status: int) -> bool:
        """Whether the call has to be made again though it was refused."""
        return False

    def _outcome(self, status: int) -> str:
        if status == 200:
            return OK
        if status == 503 or self.too_early(status):
            return UNKNOWN
        self._journal.complain(f"HTTP {status} for {type(self).__name__}")
        return REFUSED if status < 500 else UNKNOWN
