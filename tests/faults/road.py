"""What happens to the bytes of one connection between a client and a server.

A connection has two lanes, one each way, each under the weather of its way. Bytes and the news
that an end has closed or died travel alike: in order, and as slowly; or not at all.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Literal

Way = Literal["up", "down"]
WAYS: tuple[Way, ...] = ("up", "down")

#: Bytes that are read at once, how many such chunks a lane holds, and in how many portions a
#: second a narrow road takes its bytes.
CHUNK, HELD, PORTIONS = 1 << 14, 8, 20


def reset(leg: socket.socket) -> None:
    """Close with RST instead of FIN: what was not read yet is nobody's any more."""
    if leg.fileno() >= 0:
        leg.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leg.close()


@dataclass
class Weather:
    """The troubles of one way; all its connections share them. Seconds, bytes."""

    latency: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    slice: int = 0
    pause: float = 0.0
    swallows: bool = False
    stalled: bool = False
    #: After so many more bytes a connection is torn.
    left: int | None = None
    _moves: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._moves.set()

    def turn(self, **troubles: Any) -> None:
        """From now on these too."""
        for name, value in troubles.items():
            setattr(self, name, value)
        (self._moves.clear if self.stalled else self._moves.set)()

    def clear(self) -> None:
        """No trouble at all."""
        self.turn(**{one.name: one.default for one in fields(self) if one.name != "_moves"})

    async def moving(self) -> None:
        """When something may move."""
        await self._moves.wait()

    @property
    def portion(self) -> int:
        """How many bytes go at once."""
        sizes = (self.slice, self.rate and max(1, int(self.rate / PORTIONS)))
        return min([int(size) for size in sizes if size], default=CHUNK)

    def rest(self, size: int) -> float:
        """How long nothing follows ``size`` bytes."""
        return self.pause + (size / self.rate if self.rate else 0.0)


class Lane:
    """One way of a connection, from the leg ``source`` to the leg ``sink``."""

    def __init__(self, way: Way, back: Way, connection: Connection) -> None:
        self._way, self._way_back, self._connection = way, back, connection
        self._weather = connection.weather[way]
        self._road: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(HELD)
        self._due = 0.0
        self._sink_is_dead = False
        self._left = self._weather.left

    def arm(self) -> None:
        """Begin to count the bytes that are left, where there is such a trouble."""
        self._left = self._weather.left

    async def run(self, source: socket.socket, sink: socket.socket) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read(source))
            both.create_task(self._write(sink))

    async def _read(self, source: socket.socket) -> None:
        data: bytes | None = b"?"
        while data:
            data = await _heard(source)
            delay = self._weather.latency + self._weather.jitter * self._connection.chance.random()
            self._due = max(self._due, _now() + delay)
            await self._road.put((self._due, data))

    async def _write(self, sink: socket.socket) -> None:
        while True:
            due, data = await self._road.get()
            await asyncio.sleep(max(0.0, due - _now()))
            if not data:
                await self._weather.moving()
                return self._tell_the_end(sink, died=data is None)
            while data:
                await self._weather.moving()
                piece = data[: self._weather.portion]
                data = data[len(piece) :]
                await self._carry(piece, sink)

    async def _carry(self, piece: bytes, sink: socket.socket) -> None:
        if self._weather.swallows or self._sink_is_dead:
            self._connection.lose(self._way, len(piece))
            return
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        try:
            await asyncio.get_running_loop().sock_sendall(sink, piece)
        except OSError:
            self._connection.lose(self._way, len(piece))
            self._hear_that_the_sink_died()
            return
        self._connection.passed[self._way] += len(piece)
        if self._left == 0:
            self._connection.tear()
        await asyncio.sleep(self._weather.rest(len(piece)))

    def _tell_the_end(self, sink: socket.socket, *, died: bool) -> None:
        if self._weather.swallows:
            self._connection.lose(self._way, 0)
        elif died:
            self._connection.tear()
        elif not self._sink_is_dead:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                self._hear_that_the_sink_died()

    def _hear_that_the_sink_died(self) -> None:
        """This news travels the other way."""
        self._sink_is_dead = True
        if self._connection.weather[self._way_back].swallows:
            self._connection.lose(self._way_back, 0)
        else:
            self._connection.tear()


@dataclass(eq=False)
class Connection:
    """A client, the server that it wants, and what lies between them."""

    client: socket.socket
    weather: dict[Way, Weather]
    chance: random.Random
    passed: Counter[str]
    swallowed: Counter[str]
    #: Something was lost: no healing makes this a good connection again.
    has_holes: bool = False
    #: An order was carried out, or the connection is over.
    obeyed: asyncio.Event = field(default_factory=asyncio.Event)
    _ordered: asyncio.Event = field(default_factory=asyncio.Event)
    _order: Literal["", "tear", "forget"] = ""
    _haunted: bool = False

    def __post_init__(self) -> None:
        self.lanes = {"up": Lane("up", "down", self), "down": Lane("down", "up", self)}

    def tear(self) -> None:
        """Both ends hear RST."""
        self._order = "tear"
        self._ordered.set()

    def forget_client(self) -> None:
        """The client hears RST, the server nothing."""
        if self._haunted:
            self.obeyed.set()
        else:
            self._order = "forget"
            self._ordered.set()

    def lose(self, way: Way, size: int) -> None:
        """So many bytes have vanished, or (none) the news of an end."""
        self.swallowed[way] += size
        self.has_holes = True

    async def run(self, to: tuple[str, int]) -> None:
        """From the client's arrival to the end of both legs."""
        server = socket.socket()
        server.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(server, to)
            await self._until_ordered(self._carry(server))
            if self._order == "forget":
                await self._haunt(server)
        except (OSError, asyncio.CancelledError):
            self._order = "tear"
        finally:
            end = reset if self._order == "tear" else socket.socket.close
            end(self.client)
            end(server)
            self.obeyed.set()

    async def _carry(self, server: socket.socket) -> None:
        for leg in (self.client, server):
            leg.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.TaskGroup() as both:
            both.create_task(self.lanes["up"].run(self.client, server))
            both.create_task(self.lanes["down"].run(server, self.client))

    async def _haunt(self, server: socket.socket) -> None:
        """The server talks to nobody, until it ends it, or an order does."""
        reset(self.client)
        self._haunted, self._order = True, ""
        self._ordered.clear()
        self.obeyed.set()
        self.lose("up", 0)
        await self._until_ordered(self._listen(server))

    async def _listen(self, server: socket.socket) -> None:
        while data := await _heard(server):
            self.lose("down", len(data))

    async def _until_ordered(self, work: Any) -> None:
        tasks = [asyncio.create_task(work), asyncio.create_task(self._ordered.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not tasks[0].cancelled():
            tasks[0].result()


async def _heard(source: socket.socket) -> bytes | None:
    """What came; empty at the end, None where the other side has died."""
    try:
        return await asyncio.get_running_loop().sock_recv(source, CHUNK)
    except OSError:
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
