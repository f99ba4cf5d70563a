"""Agents and phones that use REST: they hand in tickets and SMS at a steady rate, one call after
another, and write down how each call ended.

Some tickets are handed in once: what became of an unknown one is the checker's question. Those of
calls under a key, and an SMS with an id, are handed in again until they are acknowledged. Some are
taken back, wherever they are by then.
"""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

from faults.journal import OK, REFUSED, UNKNOWN, Journal
from faults.orgs import SECRET, Org, party
from faults.web import Line, NoAnswer, NobodyThere

#: Tickets whose phones report a failure, and those that a plain phone never answers.
FAILS, MUTE = "f", "m"
#: How many of the calls that send carry a key.
KEYED = 0.5
#: How many of these are made once more though they were answered.
AGAIN = 0.1
#: How many calls that send have second thoughts about their first ticket.
REGRETTED = 0.1
#: No phone has this SIM, so that a ticket for it waits until it is taken back.
NOBODYS = "+15559999999"
#: How many texts one call of each kind carries.
SIZES = {"send": 1, "batch": 10, "webhook": 1, "webhooks": 5, "claim": 1, "cancel": 1}
WEIGHTS = {"send": 36, "batch": 8, "webhook": 30, "webhooks": 10, "claim": 1, "cancel": 3}
MEAN = sum(SIZES[kind] * weight for kind, weight in WEIGHTS.items()) / sum(WEIGHTS.values())


class Agents:
    """``rate`` texts a second in all, from ``number`` callers at once."""

    def __init__(
        self, journal: Journal, port: int, orgs: list[Org], chance: Random, rate: float, number: int
    ) -> None:
        self._journal = journal
        self._port = port
        self._orgs = orgs
        self._chance = chance
        self._pause = number * MEAN / rate
        self._number = number
        self._claimed = 0
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Call until `stop`."""
        self._over.clear()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._number)]

    async def stop(self) -> None:
        """No new texts; those that must arrive are handed in until they have."""
        self._over.set()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()

    async def claim(self) -> None:
        """Every org exists from now on, so that senders are known."""
        line = Line(self._port)
        for org in self._orgs:
            await self._receive(line, "claim", org.id, 1, keyed=True)
        line.close()

    async def claim_another(self) -> None:
        """An org that nobody has heard of yet, with its first SMS."""
        line = Line(self._port)
        await self._claim(line)
        line.close()

    async def regret(self) -> None:
        """A ticket for a phone that keeps a ledger, taken back before its radio has its turn."""
        line, org = Line(self._port), self._chance.choice(self._orgs)
        await self._send(line, "send", org, org.sims[1], regretted=True)
        line.close()

    async def _claim(self, line: Line) -> None:
        self._claimed += 1
        org_id = f"{self._chance.choice(self._orgs).id}-{self._claimed}"
        await self._receive(line, "claim", org_id, 1, keyed=True)

    async def _work(self) -> None:
        line = Line(self._port)
        await asyncio.sleep(self._chance.uniform(0, self._pause))
        while not self._over.is_set():
            began = time.monotonic()
            await self._act(line)
            await asyncio.sleep(
                max(0.0, began + self._pause * self._chance.uniform(0.5, 1.5) - time.monotonic())
            )
        line.close()

    async def _act(self, line: Line) -> None:
        kind = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        org = self._chance.choice(self._orgs)
        if kind in ("send", "batch"):
            await self._send(line, kind, org, self._chance.choice(org.sims))
        elif kind == "cancel":
            await self._send(line, "send", org, NOBODYS)
        elif kind == "claim":
            await self._claim(line)
        else:
            keyed = self._chance.random() < 0.8
            await self._receive(line, "webhook", org.id, SIZES[kind], keyed)

    async def _send(
        self, line: Line, way: str, org: Org, sim: str | int | None, *, regretted: bool = False
    ) -> None:
        words = [self._journal.words(self._mark()) for _ in range(SIZES[way])]
        drafts = [{"to": party(each, "+15550100200"), "body": each} for each in words]
        body: dict[str, Any] = {"secret_key": SECRET, "sim": sim}
        body |= drafts[0] if way == "send" else {"messages": drafts}
        keyed = sim == NOBODYS or self._chance.random() < KEYED
        key = f"key-{words[0]}" if keyed else None
        path, answer = f"/send/{org.id}", None
        while answer is None:
            answer = await self._call(line, way, path, org.id, words, body, key is not None, key)
            if key is None:
                break
            await asyncio.sleep(0 if answer else self._chance.uniform(0.05, 0.3))
        self._note(words, answer)
        if key is not None and self._chance.random() < AGAIN:
            self._note(words, await self._call(line, way, path, org.id, words, body, True, key))
        if answer and (regretted or sim == NOBODYS or self._chance.random() < REGRETTED):
            ticket = answer["results"][0]["id"]
            path, known = f"/tickets/{org.id}/{ticket}", False
            while not known:
                known = await self._took_back(line, path, words[0])
                await asyncio.sleep(0 if known else self._chance.uniform(0.05, 0.3))

    async def _took_back(self, line: Line, path: str, words: str) -> bool:
        """Whether it is known what became of the wish."""
        began = time.monotonic()
        try:
            status, answer = await line.delete(path, SECRET)
        except NoAnswer as trouble:
            self._journal.end("cancel", UNKNOWN, began)
            await asyncio.sleep(0.1 if isinstance(trouble, NobodyThere) else 0.02)
            return False
        if status == 200 and answer["status"] == "cancelled":
            self._journal.cancelled(words)
        refused = status == 409
        self._journal.end("cancel", OK if refused else self._outcome(status), began)
        return status in (200, 409)

    def _note(self, words: list[str], answer: dict[str, Any] | None) -> None:
        for each, result in zip(words, answer["results"] if answer else (), strict=False):
            self._journal.acknowledge(each, result["id"])

    def _mark(self) -> str:
        chance = self._chance.random()
        return MUTE if chance < 0.004 else FAILS if chance < 0.014 else ""

    async def _receive(self, line: Line, way: str, org_id: str, size: int, keyed: bool) -> None:
        words = [self._journal.words() for _ in range(size)]
        messages = [self._message(each, keyed) for each in words]
        body = {"org_id": org_id, "secret_key": SECRET, "messages": messages}
        answer = None
        while answer is None:
            answer = await self._call(line, way, "/webhook", org_id, words, body, keyed)
            if not keyed:
                break
            await asyncio.sleep(0 if answer else self._chance.uniform(0.05, 0.3))
        for each in words if answer else ():
            self._journal.acknowledge(each)

    def _message(self, words: str, keyed: bool) -> dict[str, Any]:
        address = party(words, "+15550300400")
        message = {"address": address, "body": words, "date": 1_700_000_000_000}
        return {**message, "id": f"id-{words}"} if keyed else message

    async def _call(
        self,
        line: Line,
        way: str,
        path: str,
        org_id: str,
        words: list[str],
        body: dict[str, Any],
        keyed: bool = False,
        key: str | None = None,
    ) -> dict[str, Any] | None:
        """The answer where it was acknowledged."""
        self._journal.hand_in(way, org_id, words, keyed)
        began = time.monotonic()
        try:
            status, answer = await line.post(path, body, key)
        except NoAnswer as trouble:
            self._journal.end(way, UNKNOWN, began)
            await asyncio.sleep(0.1 if isinstance(trouble, NobodyThere) else 0.02)
            return None
        self._journal.end(way, self._outcome(status), began)
        return answer if status == 200 else None

    def _outcome(self, status: int) -> str:
        if status == 200:
            return OK
        if status == 503:
            return UNKNOWN
        self._journal.complain(f"HTTP {status}")
        return REFUSED if 400 <= status < 500 else UNKNOWN
