"""Phones for load: the least of a WebSocket client, so that thousands of them fit beside a server.

    python -m bench.flock PORT SECRET ORGS COUNT

Driven by lines on stdin. ``come``: all connect, report one SIM and answer every ticket; a line of
JSON tells when the last of them was greeted. ``go``: all hang up. At the end of stdin one more line
tells what they saw. Every phone's line is its own connection; none ever comes back unasked.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import uvloop

#: So many handshakes are under way at once.
AT_ONCE = 200
#: One address has no more ports than this for connections to one server.
PORTS = 20_000
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


def framed(payload: bytes, opcode: int = _TEXT) -> bytes:
    """A client's frame under the mask 0, which changes nothing."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    else:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2)
    return head + b"\0\0\0\0" + payload


def unframed(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """The whole frames at the front of the buffer, taken out of it."""
    while len(buffer) >= 2:
        size, begin = buffer[1] & 127, 2
        if size == 126:
            size, begin = int.from_bytes(buffer[2:4]), 4
        elif size == 127:
            size, begin = int.from_bytes(buffer[2:10]), 10
        if len(buffer) < begin + size:
            return
        frame = buffer[0] & 15, bytes(buffer[begin : begin + size])
        del buffer[: begin + size]
        yield frame


class Phone(asyncio.Protocol):
    """One phone; ``greeted`` is called once, ``ticket`` with the id of each that comes."""

    transport: Any

    def __init__(
        self, head: bytes, sims: bytes, greeted: Callable[[], None], ticket: Callable[[int], None]
    ) -> None:
        self._head = head
        self._sims = sims
        self._greeted = greeted
        self._ticket = ticket
        self._buffer = bytearray()
        self._upgraded = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._upgrade():
            return
        answers = [self._answer(*frame) for frame in unframed(self._buffer)]
        self.transport.write(b"".join(answers))

    def _upgrade(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            sys.exit(f"a phone was refused: {bytes(self._buffer[:100])!r}")
        del self._buffer[: end + 4]
        self._upgraded = True
        return True

    def _answer(self, opcode: int, payload: bytes) -> bytes:
        if opcode == _PING:
            return framed(payload, _PONG)
        if opcode == _CLOSE:
            self.transport.close()
        if opcode != _TEXT:
            return b""
        return self._heard(json.loads(payload))

    def _heard(self, frame: dict[str, Any]) -> bytes:
        if frame["type"] == "send_sms":
            self._ticket(frame["id"])
            return framed(b'{"type":"send_result","id":%d,"success":true}' % frame["id"])
        if frame["type"] == "connected":
            self._greeted()
            return self._sims
        return b""


class Flock:
    """Phones of some orgs in turn, and when each ticket came; ``news`` is set with each."""

    def __init__(self, port: int, secret: str, orgs: int, count: int) -> None:
        self._port = port
        self._secret = secret
        self._orgs = orgs
        self._count = count
        self._phones: list[Phone] = []
        self.arrived: dict[int, float] = {}
        self.tickets = 0
        self.news = asyncio.Event()

    async def come(self) -> float:
        """How many seconds it took until all were greeted."""
        began, room, missing = time.perf_counter(), asyncio.Semaphore(AT_ONCE), self._count
        there = asyncio.Event()

        def greeted() -> None:
            nonlocal missing
            missing -= 1
            room.release()
            if not missing:
                there.set()

        for at in range(self._count):
            await room.acquire()
            self._phones.append(await self._connected(at, greeted))
        await asyncio.wait_for(there.wait(), 120)
        return time.perf_counter() - began

    def go(self) -> None:
        """All hang up."""
        for phone in self._phones:
            phone.transport.abort()
        self._phones.clear()

    async def _connected(self, at: int, greeted: Callable[[], None]) -> Phone:
        source = ("127.0.0.1", 0) if at < PORTS else (f"127.0.0.{2 + at // PORTS}", 0)
        _, phone = await asyncio.get_running_loop().create_connection(
            lambda: Phone(self._head(at), _sims(at), greeted, self._came),
            "127.0.0.1",
            self._port,
            local_addr=source,
        )
        return phone

    def _came(self, id_: int) -> None:
        self.tickets += 1
        self.arrived[id_] = time.perf_counter()
        self.news.set()

    def _head(self, at: int) -> bytes:
        who = f"org_id=bench{at % self._orgs}&secret_key={self._secret}"
        lines = [
            f"GET /websocket?{who} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        return "\r\n".join([*lines, "", ""]).encode()


def _sims(at: int) -> bytes:
    sim = {"slot": 0, "number": f"+1555{at:07}", "label": "SIM 1", "carrier": "Bench"}
    return framed(json.dumps({"type": "sims", "sims": [sim]}).encode())


async def obey(flock: Flock) -> None:
    """Do what stdin says, to its end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        if line == b"come\n":
            print(json.dumps({"seconds": await flock.come()}), flush=True)
        else:
            flock.go()
    print(json.dumps({"tickets": flock.tickets}), flush=True)


def main(argv: Sequence[str]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port, secret, orgs, count = argv
    uvloop.run(obey(Flock(int(port), secret, int(orgs), int(count))))


if __name__ == "__main__":
    main(sys.argv[1:])
