"""Readers for load, who wait for a message: plain sockets, so that thousands fit beside a server.

    python -m bench.readers PORT SECRET ORGS COUNT

Driven by lines on stdin. ``come``: all connect and ask, each of an org something that no other
asks of it; a line of JSON tells when the last has asked. ``hear``: once all were answered a line of
JSON tells how many messages there were in all answers. At the end of stdin all hang up.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

#: So many connect at once.
AT_ONCE = 200
WAIT = 60
_COUNT = re.compile(rb'"count":(\d+)')


class Reader(asyncio.Protocol):
    """One reader; ``heard`` is called with the number of messages in its answer."""

    transport: Any

    def __init__(self, request: bytes, heard: Callable[[int], None]) -> None:
        self._request = request
        self._heard = heard
        self._answer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._answer.endswith(b"]}"):
            answer, self._answer = self._answer, b""
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"a reader was refused: {answer[:100]!r}")
            (count,) = _COUNT.findall(answer)
            self._heard(int(count))


class Readers:
    """Readers of some orgs in turn."""

    def __init__(self, port: int, secret: str, orgs: int, count: int) -> None:
        self._port = port
        self._secret = secret
        self._orgs = orgs
        self._count = count
        self._all: list[Reader] = []
        self._answers = self._messages = 0
        self._over = asyncio.Event()

    async def come(self) -> dict[str, float]:
        began, room = time.perf_counter(), asyncio.Semaphore(AT_ONCE)

        async def connect(at: int) -> None:
            async with room:
                _, reader = await asyncio.get_running_loop().create_connection(
                    lambda: Reader(self._request(at), self._heard), "127.0.0.1", self._port
                )
                self._all.append(reader)

        await asyncio.gather(*(connect(at) for at in range(self._count)))
        return {"seconds": time.perf_counter() - began}

    async def hear(self) -> dict[str, float]:
        await asyncio.wait_for(self._over.wait(), 2 * WAIT)
        return {"messages": self._messages}

    def _heard(self, messages: int) -> None:
        self._answers += 1
        self._messages += messages
        if self._answers == self._count:
            self._over.set()

    def _request(self, at: int) -> bytes:
        turn, org = divmod(at, self._orgs)
        asked = f"direction=in&limit={1 + turn}&wait={WAIT}"
        lines = [
            f"GET /messages/bench{org}?{asked} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            f"X-Secret-Key: {self._secret}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()


async def obey(readers: Readers) -> None:
    """Do what stdin says, to its end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        done = await (readers.come() if line == b"come\n" else readers.hear())
        print(json.dumps(done), flush=True)


def main(argv: Sequence[str]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port, secret, orgs, count = argv
    uvloop.run(obey(Readers(int(port), secret, int(orgs), int(count))))


if __name__ == "__main__":
    main(sys.argv[1:])
