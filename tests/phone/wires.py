"""A phone on a wire in memory, and a gateway behind it that keeps notes.

The wire is Twisted's own `FileDescriptor`, so that buffers fill, pause and drain as on a socket;
only the kernel is missing. The phone speaks RFC 6455 byte by byte, good or bad.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smsd.domain.records import Inbound, Result, Sim, Ticket
from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.patience import Patience
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Identity, Limits, Phone, Visit
from smsd.phone.desk import Gateway
from smsd.phone.factory import LinkFactory

ORG, SECRET = "myorg", "my-secret-key-123"
AUTH = {"type": "auth", "org_id": ORG, "secret_key": SECRET}
SMS = {"address": "+15550100001", "body": "hello"}
HANDSHAKE = (
    b"GET /websocket HTTP/1.1\r\nHost: sms.example\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)

PLAIN = Identity()
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def inbound(**message: Any) -> dict[str, Any]:
    return {"type": "inbound", "message": {**SMS, **message}}


def ticket(id_: int = 5, body: str = "hi") -> Ticket:
    return Ticket(
        org_id=ORG, id=id_, to="+15550100002", body=body, sim=None, ref="ab" * 16, attempt=1
    )


class Line(FileDescriptor):
    """A connection without a kernel. ``stuck``: the phone's side takes nothing."""

    connected = 1
    protocol: Any = None

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.sent = b""
        self.reading = True
        self.stuck = self.aborted = False
        self.no_delay = False
        self.written = 0
        self._writing = False

    def write(self, data: bytes) -> None:
        self.written += 1
        super().write(data)

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def startWriting(self) -> None:
        self._writing = True

    def stopWriting(self) -> None:
        self._writing = False

    def writeSomeData(self, data: bytes) -> int:
        if self.stuck:
            return 0
        self.sent += bytes(data)
        return len(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "203.0.113.7", 40000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "203.0.113.1", 8080)

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.aborted = True

    def flush(self) -> None:
        """One round of the reactor."""
        if self.aborted:
            self.lose(ConnectionAborted())
        while self._writing and not self.stuck:
            if (ended := self.doWrite()) is not None:
                self.lose(ConnectionDone() if isinstance(ended, ConnectionDone) else ended)

    def lose(self, why: BaseException) -> None:
        """The connection is gone."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self.connectionLost(Failure(why))
            protocol.connectionLost(Failure(why))


class Heard(NamedTuple):
    """A frame that the phone read."""

    opcode: int
    payload: bytes


class MemoryPhone:
    """A phone, as it sees its connection."""

    def __init__(
        self,
        factory: LinkFactory,
        clock: Clock,
        who: Caller | Newcomer | None = None,
        identity: Identity = PLAIN,
        *,
        behind: bytes = b"",
    ) -> None:
        """``behind``: bytes in the same segment as the handshake."""
        self.line = Line(clock)
        self.link = factory.link("203.0.113.7", who, identity)
        self.line.protocol = self.link
        self.link.makeConnection(self.line)
        self._unread: deque[bytes] = deque()
        self._buffer = b""
        self.greeting = b""
        self.heard: list[Heard] = []
        self.write(HANDSHAKE + behind)

    # -- what the phone does -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._unread.append(data)
        self.pump()

    def say(self, *frames: dict[str, Any]) -> None:
        """Good frames, in one segment."""
        self.write(b"".join(text(frame) for frame in frames))

    def receipt(self) -> None:
        """Answer the latest ping only, as RFC 6455 lets a phone do."""
        self.write(framed(PONG, self.pings()[-1]))

    def hang_up(self) -> None:
        """Gone without a word."""
        self.line.lose(ConnectionLost())

    def pump(self) -> None:
        """Let the bytes flow until nothing moves."""
        while True:
            self.line.flush()
            if not (self._unread and self.line.reading and self.line.protocol):
                break
            self.line.protocol.dataReceived(self._unread.popleft())
        self._read()

    # -- what the phone heard ------------------------------------------------------------------

    def frames(self) -> list[dict[str, Any]]:
        """The text frames since the last look."""
        self.pump()
        found = [json.loads(one.payload) for one in self.heard if one.opcode == TEXT]
        self.heard = [one for one in self.heard if one.opcode != TEXT]
        return found

    def raw_frames(self) -> list[bytes]:
        """The same, to the byte."""
        self.pump()
        return [one.payload for one in self.heard if one.opcode == TEXT]

    def pings(self) -> list[bytes]:
        self.pump()
        return [one.payload for one in self.heard if one.opcode == PING]

    def pongs(self) -> list[bytes]:
        self.pump()
        return [one.payload for one in self.heard if one.opcode == PONG]

    @property
    def farewell(self) -> tuple[int, str] | None:
        """The close frame: its code and its reason."""
        self.pump()
        closes = [one.payload for one in self.heard if one.opcode == CLOSE]
        assert len(closes) < 2
        if not closes:
            return None
        (payload,) = closes
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    @property
    def closed_with(self) -> int | None:
        return self.farewell[0] if self.farewell else None

    @property
    def connected(self) -> bool:
        self.pump()
        return self.line.protocol is not None

    def _read(self) -> None:
        data, self.line.sent = self._buffer + self.line.sent, b""
        if not self.greeting and b"\r\n\r\n" in data:
            head, data = data.split(b"\r\n\r\n", 1)
            self.greeting = head
        if self.greeting:
            while (one := _first(data)) is not None:
                heard, data = one
                self.heard.append(heard)
        self._buffer = data


def text(frame: dict[str, Any]) -> bytes:
    return framed(TEXT, json.dumps(frame).encode())


def framed(opcode: int, payload: bytes = b"", mask: bytes = b"\0\0\0\0") -> bytes:
    """A frame as a client sends it. A mask of zeros is a mask."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes([0x80 | opcode]) + length + mask + payload


def _first(data: bytes) -> tuple[Heard, bytes] | None:
    if len(data) < 2:
        return None
    size, at = data[1], 2
    assert size < 128, "a server's frames are not masked"
    if size == 126:
        size, at = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, at = int.from_bytes(data[2:10], "big"), 10
    if len(data) < at + size:
        return None
    assert data[0] & 0xF0 == 0x80, "whole and not compressed"
    return Heard(data[0] & 0x0F, data[at : at + size]), data[at + size :]


@dataclass
class Notes:
    """A gateway that notes what it is asked. What it answers may be set, and held back."""

    clock: Clock
    events: list[tuple[Any, ...]] = field(default_factory=list)
    refusal: Exception | None = None
    not_begun: Exception | None = None
    not_reported: Exception | None = None
    verdict: str | Exception = "settled"
    #: Called at every store; may raise, or give a Deferred to be waited for.
    on_store: Callable[[Inbound], Deferred[None] | None] = lambda _: None
    #: The same for every result, and for every report of SIMs.
    on_take: Callable[[Result], Deferred[None] | None] = lambda _: None
    on_report: Callable[[Sequence[Sim]], Deferred[None] | None] = lambda _: None
    on_end: Callable[[], None] = lambda: None
    door: Deferred[None] | None = None
    gate: Deferred[None] | None = None
    visits: list[Visit] = field(default_factory=list)

    async def recognise(
        self, credentials: Any, address: str, *, claim: bool, claim_token: str | None
    ) -> Caller:
        self.events.append(("recognise", credentials.org_id, address, claim, claim_token))
        if self.door is not None:
            await self.door
        if self.refusal is not None:
            raise self.refusal
        return Caller(credentials.org_id)

    async def claim(self, newcomer: Newcomer) -> tuple[Caller, bool]:
        self.events.append(("claim", newcomer.org_id))
        return Caller(newcomer.org_id), True

    async def begin(self, caller: Caller, identity: Identity, phone: Phone) -> Visit:
        self.events.append(("begin", caller.org_id, identity.device_id))
        if self.gate is not None:
            await self.gate
        if self.not_begun is not None:
            raise self.not_begun
        visit = Visit(caller.org_id, "session", identity, phone, Limits(), clock=self.clock.seconds)
        visit.on_line = True
        self.visits.append(visit)
        return visit

    def serve(self, visit: Visit) -> None:
        self.events.append(("serve",))

    def end(self, visit: Visit, why: str) -> None:
        self.on_end()
        if visit.on_line:
            visit.on_line = False
            self.events.append(("end", why))

    async def report(self, visit: Visit, sims: Sequence[Sim]) -> int:
        self.events.append(("report", list(sims)))
        waiting = self.on_report(sims)
        if waiting is not None:
            await waiting
        if self.not_reported is not None:
            raise self.not_reported
        return len(sims)

    async def store(
        self, who: Caller, sms: Sequence[Inbound], visit: Visit, *, until: float
    ) -> int:
        (one,) = sms
        self.events.append(("store", who.org_id, one.body))
        waiting = self.on_store(one)
        if waiting is not None:
            await waiting
        return 1

    async def take(self, visit: Visit, result: Result) -> str:
        self.events.append(("take", result))
        visit.answered(result.id, result.ref)
        waiting = self.on_take(result)
        if waiting is not None:
            await waiting
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    def feed(self, visit: Visit) -> None:
        self.events.append(("feed",))

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        """The events of these kinds."""
        return [event for event in self.events if event[0] in names]

    @property
    def visit(self) -> Visit:
        (visit,) = self.visits
        return visit

    def gateway(self) -> Gateway:
        me: Any = self
        return Gateway(me, me, me, me, me, me, Patience(self.clock, lambda: 0.5), Spawn(), 100)
