"""Programs that hear what happens in an org, by ``GET /events``: they come back behind their cursor
whenever the stream breaks or they hang up, and write down what they heard."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader
from contextlib import suppress
from random import Random

from faults.journal import Journal
from faults.orgs import SECRET

#: Far longer than a stream may be silent. Seconds.
PATIENCE = 40.0
#: A reader hangs up after so many events on the average.
STAYS = 200


class Reader:
    """One program of one org; ``cursor`` is the last event that it knows."""

    def __init__(self, org_id: str, journal: Journal, port: int, chance: Random) -> None:
        self.org_id = org_id
        self.cursor = 0
        self._journal = journal
        self._port = port
        self._chance = chance

    async def live(self) -> None:
        """Listens, and comes back, until it is cancelled."""
        while True:
            with suppress(OSError, EOFError, ValueError, TimeoutError):
                await self._listen()
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))

    async def _listen(self) -> None:
        stream, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(
                f"GET /events/{self.org_id} HTTP/1.1\r\nHost: gateway\r\n"
                f"X-Secret-Key: {SECRET}\r\nLast-Event-ID: {self.cursor}\r\n\r\n".encode()
            )
            status = int((await _line(stream)).split()[1])
            if status == 200:
                await self._hear(stream)
            elif status != 503:
                self._journal.complain(f"HTTP {status} for a reader of events")
        finally:
            writer.transport.abort()

    async def _hear(self, stream: StreamReader) -> None:
        while await _line(stream):
            pass
        event: dict[str, str] = {}
        while True:
            name, _, value = (await _line(stream)).partition(": ")
            if name:
                event[name] = value
                continue
            if self._take(event) and self._chance.random() < 1 / STAYS:
                return
            event = {}

    def _take(self, event: dict[str, str]) -> bool:
        """Whether it is one, and not only a cursor."""
        cursor = int(event.get("id", self.cursor))
        told = "event" in event
        if told:
            self._journal.heard(self.org_id, cursor, after=self.cursor)
        self.cursor = max(cursor, self.cursor)
        return told


async def _line(stream: StreamReader) -> str:
    async with asyncio.timeout(PATIENCE):
        line = await stream.readuntil(b"\n")
    return line.decode().rstrip("\r\n")
