"""A TCP road of our own that can be spoilt: slow, narrow, crumbling, silent, torn, closed.

It stands between a client and a server, carries bytes both ways and knows nothing of what they
say. `ChaosProxy` is the control, called from any thread; the traffic runs on an event loop in a
thread of its own. What happens to the bytes of one connection is `road`'s.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from faults.road import WAYS, Connection, Way, Weather

T = TypeVar("T")

#: Control answers at once; an event loop that does not within these seconds hangs.
PATIENCE = 10.0


class ChaosProxy:
    """A road to ``to`` that begins at ``127.0.0.1:port``.

    Troubles last, for connections that are there and for new ones, until `heal`; each may be of
    one way only ("up": client to server, "down": server to client). `reset` without ``after`` and
    `half_open` are events: they happen to the connections that are there.
    """

    def __init__(self, to: tuple[str, int], *, seed: int = 0) -> None:
        self.to = to
        #: Connections that were ever taken in.
        self.accepted = 0
        self._chance = random.Random(seed)
        self._weather: dict[Way, Weather] = {}
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._passed: Counter[str] = Counter()
        self._swallowed: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos proxy")
        self._listener: socket.socket | None = None
        # Keeps the port ours while nobody listens on it.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]

    def __enter__(self) -> ChaosProxy:
        self._thread.start()
        self._do(self._open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    # -- what can be seen ----------------------------------------------------------------------

    @property
    def open(self) -> int:
        """How many connections there are now, half-open ones included."""
        return len(self._connections)

    def passed(self, way: Way) -> int:
        """Bytes that were carried this way in all."""
        return self._passed[way]

    def swallowed(self, way: Way) -> int:
        """Bytes that vanished this way in all."""
        return self._swallowed[way]

    # -- troubles ------------------------------------------------------------------------------

    def latency(self, ms: float, jitter: float = 0, *, way: Way | None = None) -> None:
        """Every byte takes so long, plus at most ``jitter``; none overtakes another."""
        self._spoil(way, latency=ms / 1000, jitter=jitter / 1000)

    def bandwidth(self, rate: float, *, way: Way | None = None) -> None:
        """At most so many bytes a second, for each connection."""
        self._spoil(way, rate=rate)

    def slices(self, size: int, pause: float, *, way: Way | None = None) -> None:
        """Bytes go in pieces of this size, with a pause of so many seconds behind each."""
        self._spoil(way, slice=size, pause=pause)

    def black_hole(self, *, way: Way | None = None) -> None:
        """Bytes vanish, and so does the news that an end has closed or died.

        A connection that lost anything is torn by `heal`: TCP knows no stream with a hole in it.
        """
        self._spoil(way, swallows=True)

    def stall(self, *, way: Way | None = None) -> None:
        """Nothing moves, and nothing is lost: buffers fill up to the sender. `heal` lets it go."""
        self._spoil(way, stalled=True)

    def refuse(self) -> None:
        """New connections are refused; those that are there stay."""
        self._do(self._stop_listening)

    def reset(self, after: int | None = None, *, way: Way | None = None) -> None:
        """Tear the connections with RST, at both ends: now, or each once ``after`` more bytes
        went that way."""
        if after is None:
            self._run(self._end_all(Connection.tear))
        else:
            self._spoil(way, left=after)

    def half_open(self) -> None:
        """The client's end dies; the server sees nothing of it, and what it writes vanishes."""
        self._run(self._end_all(Connection.forget_client))

    def heal(self) -> None:
        """A good road again; connections that lost something are torn."""
        self._run(self._heal())

    # -- in the thread of the traffic ----------------------------------------------------------

    def _spoil(self, way: Way | None, **trouble: Any) -> None:
        def spoil() -> None:
            for one in WAYS if way is None else (way,):
                self._weather[one].turn(**trouble)
                if "left" in trouble:
                    self._arm(one)

        self._do(spoil)

    def _open(self) -> None:
        self._weather.update({way: Weather() for way in WAYS})
        self._listen()

    def _arm(self, way: Way) -> None:
        for connection in self._connections:
            connection.lanes[way].arm()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(1024)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._loop.remove_reader(listener)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):  # it has gone already
            client, _ = listener.accept()
            client.setblocking(False)
            self.accepted += 1
            self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        connection = Connection(client, self._weather, self._chance, self._passed, self._swallowed)
        task = self._loop.create_task(connection.run(self.to))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._over(connection))

    def _over(self, connection: Connection) -> None:
        del self._connections[connection]
        connection.client.close()  # also where it was cancelled before it began

    async def _heal(self) -> None:
        torn = [connection for connection in self._connections if connection.has_holes]
        for weather in self._weather.values():
            weather.clear()
        for way in WAYS:
            self._arm(way)
        await self._end(torn, Connection.tear)
        self._listen()

    async def _end_all(self, end: Callable[[Connection], None]) -> None:
        await self._end(list(self._connections), end)

    async def _end(self, some: list[Connection], end: Callable[[Connection], None]) -> None:
        """Returns when it has happened."""
        alive = [one for one in some if not self._connections[one].done()]
        for connection in alive:
            connection.obeyed.clear()
            end(connection)
        for connection in alive:
            await connection.obeyed.wait()

    async def _close(self) -> None:
        self._stop_listening()
        tasks = list(self._connections.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _do(self, what: Callable[[], T]) -> T:
        async def done() -> T:
            return what()

        return self._run(done())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


def _bound(port: int) -> socket.socket:
    """A socket on this port, which others of ours may have too."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound
