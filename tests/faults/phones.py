"""Fake phones as the contract lets a gateway expect them; with a ledger they are `faults.ledgers`'.

They come back by themselves with jitter, hand received SMS in again until these are acknowledged,
and write down what they give to the radio. Their memory outlives every connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlencode

from faults.agents import FAILS, MUTE
from faults.journal import OK, UNKNOWN, Journal
from faults.orgs import ANSWERED, ASKED, SECRET, party
from faults.reports import Reports
from faults.witness import Witness
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

#: For so long a plain phone repeats what it said, since nobody tells it that it was heard.
REMEMBERS = 30.0
#: Errors that only say why the connection ends: come back later.
FAREWELLS = ("shutting_down", "flapping", "unavailable")


@dataclass(eq=False)
class Talk:
    """One connection. ``handed_in``: SMS (words, and id where it has one) that await their answer,
    in the order in which these must come."""

    socket: ClientConnection
    greeted: bool = False
    handed_in: deque[tuple[str, str | None]] = field(default_factory=deque)

    async def say(self, frame: dict[str, Any]) -> None:
        with suppress(WebSocketException, OSError):
            await self.socket.send(json.dumps(frame))


class Phone:
    """A plain phone: it sends whatever it is given, and says so."""

    def __init__(
        self,
        name: str,
        org_id: str,
        journal: Journal,
        witness: Witness,
        where: Callable[[], int],
        chance: Random,
        *,
        query: dict[str, str],
        sims: list[dict[str, Any]],
    ) -> None:
        self.name = name
        self._org_id = org_id
        self._journal = journal
        self._witness = witness
        self._where = where
        self._chance = chance
        self._query = {"org_id": org_id, "secret_key": SECRET, **query}
        self._sims = sims
        self._talks: list[Talk] = []
        #: SMS that arrived and are not acknowledged, by their id, with the time of handing in.
        self._outbox: dict[str, float] = {}
        self._said: deque[tuple[float, dict[str, Any]]] = deque()
        self._reports = Reports(org_id, journal, chance)
        self._work: set[asyncio.Task[None]] = set()

    # -- coming and going --

    async def live(self) -> None:
        """On line as often as the gateway lets it, until cancelled."""
        pause = 0.05
        while True:
            began = time.monotonic()
            await self.visit()
            pause = 0.05 if time.monotonic() - began > 2 else min(1.0, 2 * pause)
            await asyncio.sleep(pause * self._chance.uniform(0.3, 1.3))

    async def visit(self) -> None:
        """One connection, to its end."""
        url = f"ws://127.0.0.1:{self._where()}/websocket?{urlencode(self._query)}"
        with suppress(OSError, WebSocketException, TimeoutError, EOFError):
            async with connect(
                url,
                compression=None,
                proxy=None,
                open_timeout=5,
                close_timeout=0.5,
                ping_interval=3,
                ping_timeout=4,
            ) as socket:
                await self._converse(Talk(socket))

    async def _converse(self, talk: Talk) -> None:
        self._talks.append(talk)
        try:
            async for raw in talk.socket:
                await self._hear(talk, json.loads(raw))
        finally:
            self._talks.remove(talk)
            for _ in (id_ for _, id_ in talk.handed_in if id_ is None):
                self._journal.end("socket", UNKNOWN, time.monotonic())
            for other in self._greeted:  # what was said here may not have been heard
                self._start(self._repeat(other))

    async def _hear(self, talk: Talk, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "connected":
                await talk.say({"type": "sims", "sims": self._sims})
                talk.greeted = True
                await self._repeat(talk)
            case "send_sms":
                self._journal.push(self._org_id, frame["id"], frame["body"], self.name)
                self._witness.look(self._org_id, frame["id"])
                self._take(frame)
            case "inbound_ack":
                self._acknowledged(talk, frame)
            case "result_ack":
                self._result_acknowledged(frame)
            case "cancel_sms":
                await talk.say(self._asked_back(frame["id"]))
            case "error" if frame["code"] not in FAREWELLS:
                self._journal.complain(f"error frame {frame['code']}")

    async def drop(self, deaf: float = 0.0) -> None:
        """The phone loses its connections, after it has not read for so many seconds."""
        talks = list(self._talks)
        for talk in talks:
            talk.socket.transport.pause_reading()
        await asyncio.sleep(deaf)
        for talk in talks:
            talk.socket.transport.abort()

    @property
    def on_line(self) -> bool:
        return bool(self._talks)

    @property
    def waits(self) -> bool:
        """Whether it still owes, or is owed, an answer."""
        return bool(self._outbox or self._work) or not self.on_line

    @property
    def debts(self) -> str:
        """What it waits for, in words."""
        return f"{len(self._outbox)} SMS, on line: {self.on_line}"

    @property
    def _greeted(self) -> list[Talk]:
        """The connection over which it speaks now, if there is one."""
        return [talk for talk in self._talks if talk.greeted][-1:]

    async def _repeat(self, talk: Talk) -> None:
        """What may not have been heard."""
        since = time.monotonic() - REMEMBERS
        while self._said and self._said[0][0] < since:
            self._said.popleft()
        for said in (*(result for _, result in self._said), *self._reports.worth_repeating()):
            await talk.say(said)
        for id_ in list(self._outbox):
            await self._hand_in(talk, id_.removeprefix("id-"), id_)

    # -- SMS that arrived --

    async def receive(self, answer: str = "") -> None:
        """An SMS has arrived; an ``answer``'s words are given."""
        keyed = bool(answer) or self._chance.random() < 0.9
        words = answer or self._journal.words()
        if keyed:
            self._outbox[f"id-{words}"] = time.monotonic()
        for talk in self._greeted:
            await self._hand_in(talk, words, f"id-{words}" if keyed else None)

    async def _hand_in(self, talk: Talk, words: str, id_: str | None) -> None:
        self._journal.hand_in("socket", self._org_id, [words], id_ is not None)
        address = party(words, "+15550300400")
        message: dict[str, Any] = {"address": address, "body": words, "date": 1_700_000_000}
        talk.handed_in.append((words, id_))
        await talk.say({"type": "inbound", "message": message | ({"id": id_} if id_ else {})})

    def _acknowledged(self, talk: Talk, frame: dict[str, Any]) -> None:
        words, id_ = talk.handed_in.popleft() if talk.handed_in else ("", "nothing")
        if frame.get("id") != id_:
            self._journal.complain("inbound answered out of order")
            return
        began = self._outbox.pop(id_, time.monotonic()) if id_ else time.monotonic()
        self._journal.acknowledge(words)
        self._journal.end("socket", OK, began)

    # -- tickets --

    def _take(self, frame: dict[str, Any]) -> None:
        self._start(self._send(frame))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _send(self, frame: dict[str, Any]) -> None:
        if frame["body"].endswith(MUTE):
            self._journal.radio(frame["body"], self.name)
            return
        result = await self._transmit(frame)
        self._said.append((time.monotonic(), result))
        await self._tell(result)

    async def _transmit(self, frame: dict[str, Any]) -> dict[str, Any]:
        """What the radio says."""
        words = frame["body"]
        success = not words.endswith(FAILS)
        if success:
            self._journal.radio(words, self.name)
            if frame.get("receipt"):
                self._start(self._pass_on(frame))
        slow = self._chance.random() < 0.05
        await asyncio.sleep(self._chance.uniform(0.2, 0.6) if slow else 0.02)
        if success:
            self._journal.now.confirmed.add(words)
        if success and words.endswith(ASKED):
            self._start(self.receive(words + ANSWERED))
        return {"type": "send_result", "id": frame["id"], "success": success}

    async def _pass_on(self, frame: dict[str, Any]) -> None:
        async for report in self._reports.of(frame):
            await Phone._tell(self, report)

    async def _tell(self, result: dict[str, Any]) -> None:
        for talk in self._greeted:
            await talk.say(result)

    def _asked_back(self, ticket: int) -> dict[str, Any]:
        self._journal.complain("cancel_sms to a plain phone")
        return {"type": "cancel_result", "id": ticket, "cancelled": False}

    def _result_acknowledged(self, frame: dict[str, Any]) -> None:
        self._journal.complain("result_ack to a plain phone")
