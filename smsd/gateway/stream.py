"""One event stream: a cursor, what is wanted, and the reader that it is written to.

When it reads, and when it ends, is `smsd.gateway.streams`'.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from smsd.gateway.doorman import Caller
from smsd.store.events import Bounds, Wanted


class Reader(Protocol):
    """Who sits at the other end of a stream."""

    #: Whether it takes more just now; `Stream.go_on` says that it does again.
    ready: bool

    def write(self, data: bytes) -> None:
        """It is to read this."""

    def is_stuck(self) -> bool:
        """Whether it took nothing of what waited for it at the last time of asking."""

    def close(self) -> None:
        """There is no more; what was written is still to be read."""

    def cut(self) -> None:
        """It is not worth waiting for."""


class Place(NamedTuple):
    """Where a stream begins: what is wanted, and the last event that its reader has seen."""

    caller: Caller
    wanted: Wanted
    cursor: int


class Chapter(NamedTuple):
    """A page of events as they are written."""

    lines: list[tuple[int, bytes]]
    upto: int
    more: bool
    bounds: Bounds


class Stream:
    """One reader's; from `Streams.open` to `gone`."""

    __slots__ = ("_room", "caller", "cursor", "reader", "running", "wanted")

    def __init__(self, place: Place, reader: Reader) -> None:
        self.caller, self.wanted, self.cursor = place
        self.reader = reader
        self.running: Deferred[None] | None = None
        self._room: Deferred[None] | None = None

    async def room(self) -> None:
        """When its reader takes more."""
        if not self.reader.ready:
            self._room = Deferred()
            await self._room

    def go_on(self) -> None:
        """Its reader takes more."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def tell(self, chapter: Chapter) -> bool:
        """Whether its reader took all of this; the cursor stands behind what it took."""
        for id_, line in chapter.lines:
            if not self.reader.ready:
                return False
            self.reader.write(line)
            self.cursor = id_
        self.cursor = chapter.upto
        return True
