"""The receiver that docs/hooks.md shows, run as it stands there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest_twisted
from receivers import courier
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol

from smsd.outward.attempt import Error
from smsd.outward.retries import PAUSES
from smsd.outward.signature import new_secret

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text()
OURS, OTHER = (new_secret(lambda count, letter=letter: letter * count) for letter in (b"a", b"b"))


class Program(ProcessProtocol):
    """A program that is read line by line."""

    def __init__(self) -> None:
        self.said = b""
        self.errors = b""
        self.ended: Deferred[None] = Deferred()
        self._waiting: tuple[int, Deferred[None]] | None = None

    async def lines(self, count: int) -> list[str]:
        """Its first lines, when there are so many; ten seconds at most."""
        if self.said.count(b"\n") < count:
            waiting: Deferred[None] = Deferred()
            self._waiting = count, waiting
            await waiting.addTimeout(10, reactor)
        return self.said.decode().splitlines()

    def outReceived(self, data: bytes) -> None:
        self.said += data
        if self._waiting and self.said.count(b"\n") >= self._waiting[0]:
            (_, waiting), self._waiting = self._waiting, None
            waiting.callback(None)

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(None)


@pytest_twisted.ensureDeferred
async def test_the_receiver_of_the_docs_takes_ours_once_and_nothing_else() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = Program()
    environment = {**os.environ, "HOOK_SECRET": OURS, "PORT": "0"}
    process = reactor.spawnProcess(
        program, sys.executable, [sys.executable, "-c", source], environment
    )
    try:
        (first,) = await program.lines(1)
        url = f"http://127.0.0.1:{first.rpartition(' ')[2]}/"
        statuses = []
        for event_id, secrets in (
            ("evt_1", [OURS]),
            ("evt_1", [OURS]),
            ("evt_2", [OTHER]),
            ("evt_3", [OTHER, OURS]),
        ):
            body = b'{"type":"message.received","data":{"id":"%s"}}' % event_id.encode()
            statuses.append((await courier().deliver(url, event_id, body, secrets)).status)
        assert statuses == [204, 204, 401, 204]
        assert (await program.lines(3))[1:] == [
            "message.received {'id': 'evt_1'}",
            "message.received {'id': 'evt_3'}",
        ]
    finally:
        process.signalProcess("TERM")
        await program.ended
    assert b"refused: No matching signature" in program.errors
    assert b"Traceback" not in program.errors


def test_every_error_is_told() -> None:
    for word in Error.__args__:
        assert f"| `{word}` |" in PAGE


def test_the_pauses_are_told() -> None:
    told = "5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h"
    assert told in PAGE
    seconds = [5, 300, 1800, *(3600 * int(hours) for hours in re.findall(r"\d+", told)[3:])]
    assert list(PAUSES) == seconds
