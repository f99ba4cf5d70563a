"""Thousands of light phones that all want to be on line at once, each the least of a phone.

Each says who it is in the headers of its handshake, waits to be greeted, reports a SIM, and is
back when that report was acknowledged. Refused or thrown out, it tries again, and it is counted.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

#: A phone that was turned away tries again after at most so many seconds, twice as many each time.
AGAIN, SELDOM = 1.0, 60.0
#: No phone waits for its connection, its greeting or its acknowledgement for longer. Seconds.
PATIENCE = 30.0

_PING, _PONG, _CLOSE = 9, 10, 8


@dataclass(frozen=True)
class Owner:
    """To whom a phone belongs, and from which address it calls."""

    org_id: str
    secret: str
    address: str = "127.0.0.1"


@dataclass
class Return:
    """How a flock came back. ``trouble`` counts what a phone met before it was on line."""

    seconds: float = 0.0
    trouble: Counter[str] = field(default_factory=Counter)


class LightPhone(asyncio.Protocol):
    """One connection. ``met`` tells what came of it: ``back``, or what went wrong."""

    def __init__(self, owner: Owner, number: int) -> None:
        self.met: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        #: What it waits for.
        self.awaits = "connection"
        self._owner = owner
        self._number = number
        self._unread = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.awaits = transport, "upgrade"
        transport.write(
            b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nX-Org-Id: %b\r\nX-Secret-Key: %b\r\n\r\n"
            % (self._owner.org_id.encode(), self._owner.secret.encode())
        )

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._upgraded:
            self._read_head()
        while self._upgraded and (frame := self._next()):
            self._hear(*frame)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()
        self._meet("cut off" if error is None else type(error).__name__)

    def _read_head(self) -> None:
        head, found, rest = self._unread.partition(b"\r\n\r\n")
        if not found:
            return
        status = head.split(b" ", 2)[1].decode()
        if status == "101":
            self._upgraded, self._unread, self.awaits = True, rest, "connected"
        else:
            self._meet(f"status {status}")

    def _next(self) -> tuple[int, bytes] | None:
        """The next frame; none to such a phone is longer than 64 KiB."""
        head = 4 if self._unread[1:2] == b"\x7e" else 2
        if len(self._unread) < head:
            return None
        size = int.from_bytes(self._unread[2:4], "big") if head == 4 else self._unread[1]
        if len(self._unread) < head + size:
            return None
        payload, opcode = self._unread[head : head + size], self._unread[0] & 0x0F
        self._unread = self._unread[head + size :]
        return opcode, payload

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._say(_PONG, payload)
        elif opcode == _CLOSE:
            self._meet(f"close {int.from_bytes(payload[:2], 'big')}")
        elif (kind := json.loads(payload)["type"]) == "connected":
            sim = {"slot": 0, "number": f"+1555{self._number:07}"}
            self._say(1, json.dumps({"type": "sims", "sims": [sim]}).encode())
            self.awaits = "sims_ack"
        elif kind == "sims_ack":
            self._meet("back")

    def _say(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        assert len(payload) < 126
        self.transport.write(bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload)

    def _meet(self, what: str) -> None:
        if not self.met.done():
            self.met.set_result(what)


class Flock:
    """All phones; ``owners`` has one entry for each."""

    def __init__(self, owners: Sequence[Owner], port: int) -> None:
        self._owners = owners
        self._where = ("127.0.0.1", port)
        self.on_line: list[LightPhone] = []

    async def come(self, within: float = 120.0) -> Return:
        """All at once, until the last is on line; what kept them where that takes too long."""
        began, told = time.monotonic(), Return()
        phones = [self._insist(owner, at, told) for at, owner in enumerate(self._owners)]
        try:
            async with asyncio.timeout(within):
                self.on_line = await asyncio.gather(*phones)
        except TimeoutError:
            raise AssertionError(f"not all are on line after {within} s: {told.trouble}") from None
        told.seconds = time.monotonic() - began
        return told

    async def cut_off(self) -> int:
        """When every connection has ended, as when its gateway dies; how many there were."""
        for phone in self.on_line:
            await phone.ended.wait()
        return len(self.on_line)

    async def _insist(self, owner: Owner, number: int, told: Return) -> LightPhone:
        pause = AGAIN
        while True:
            phone = LightPhone(owner, number)
            met = await self._try(phone, owner)
            if met == "back":
                return phone
            told.trouble[met] += 1
            if phone.transport is not None:
                phone.transport.abort()
            await asyncio.sleep(pause * random.random())
            pause = min(SELDOM, 2 * pause)

    async def _try(self, phone: LightPhone, owner: Owner) -> str:
        loop, line = asyncio.get_running_loop(), socket.socket()
        line.setblocking(False)
        try:
            line.bind((owner.address, 0))
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(line, self._where)
                await loop.create_connection(lambda: phone, sock=line)
                return await phone.met
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:  # a time-out is one too
            timed_out = isinstance(error, TimeoutError)
            return f"no {phone.awaits} in time" if timed_out else type(error).__name__
        finally:
            if phone.transport is None:
                line.close()
