"""Event streams: whoever opened one hears what happens in its org, in order, until it hangs up.

A stream is a cursor, and a place where its reader sits. It reads, writes as much as the reader
takes, and sleeps at the bell; what the reader does not take is forgotten and read again later. So
a reader costs its connection and some memory, never a backlog. How events are spelt is the face's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smsd.domain.errors import EventsGone, Fault, Invalid, ShuttingDown, Unauthorised, Unavailable
from smsd.domain.happenings import EventQuery
from smsd.domain.numbers import address_key
from smsd.gateway.bell import Bell, Ear
from smsd.gateway.doorman import Caller
from smsd.gateway.readings import Readings
from smsd.gateway.spawn import Spawn
from smsd.gateway.stream import Chapter, Place, Reader, Stream
from smsd.store import events, keys, remedies
from smsd.store.database import Database
from smsd.store.events import Bounds, Event, Wanted

#: Events that are read at a time.
PAGE = 50
#: Seconds: after a reading, so that a busy org is read some times a second and not all the time;
#: and after the database was away.
PAUSE, RETRY = 0.05, 2.0
#: Every stream shows that it lives once in so many seconds, each in a second of its own.
BEAT = 15
#: At the gateway's end readers have so many seconds to take what was written for them.
LAST_WORDS = 3.0


class Streams:
    """All streams of a node. ``spell`` and ``sign_of_life`` (of a cursor) make what is written;
    an org listens for ``keep`` seconds after its last one; ``at_once`` of them may read at a time.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        database: Database,
        bell: Bell,
        *,
        keep: float,
        at_once: int,
        chance: Callable[[], float],
        spell: Callable[[Event], bytes],
        sign_of_life: Callable[[int], bytes],
    ) -> None:
        self._reactor = reactor
        self._database = database
        self._bell = bell
        # Its own: who waits for all other work of the gateway does not wait for readers.
        self._spawn = Spawn()
        self._keep = keep
        self._readings: Readings[Any] = Readings(reactor, at_once)
        self.chance = chance
        self._spell = spell
        self._sign_of_life = sign_of_life
        #: By the second of every `BEAT` in which they show that they live.
        self._seats: list[dict[Stream, None]] = [{} for _ in range(BEAT)]
        self._second = 0
        self._seat_of: dict[Stream, dict[Stream, None]] = {}
        self._closed = False
        self._empty: Deferred[None] | None = None
        #: Readers that were cut because they did not read.
        self.cut = 0

    def __len__(self) -> int:
        return len(self._seat_of)

    async def place(self, caller: Caller, query: EventQuery, last: str | None = None) -> Place:
        """Where a stream begins for whoever asks so; ``last`` is the cursor in the header that
        EventSource sends, and wins. From here on the org listens.

        Raises `EventsGone`, `Invalid` for a cursor that was never given out, `Unavailable`.
        """
        if self._closed:
            raise ShuttingDown(retry_after=1)
        org_id = caller.org_id
        bounds = await self._shared(
            (org_id,), partial(events.listen, self._database, org_id, self._keep)
        )
        if bounds is None:
            raise Unauthorised
        named, cursor = ("since", query.since) if last is None else ("Last-Event-ID", int(last))
        return Place(caller, _wanted(query), _begin(bounds, named, cursor))

    def open(self, place: Place, reader: Reader) -> Stream:
        """The reader hears from now on, until its stream is `gone`."""
        stream = Stream(place, reader)
        seat = self._seat_of[stream] = self._seats[self._second]
        seat[stream] = None
        self._spawn("an event stream", self._run(stream))
        return stream

    def gone(self, stream: Stream) -> None:
        """Its connection has ended."""
        seat = self._seat_of.pop(stream, None)
        if seat is not None:
            del seat[stream]
        self._stop(stream)
        if not self._seat_of and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    # -- chores ----------------------------------------------------------------------------------

    async def beat(self) -> None:
        """To be called every second: some streams show that they live; who is stuck is cut."""
        self._second = (self._second + 1) % BEAT
        for stream in list(self._seats[self._second]):
            if stream.reader.is_stuck():
                self.cut += 1
                self._log.info(
                    "a reader of org {org}'s events is cut: it does not read",
                    org=stream.caller.org_id,
                )
                stream.reader.cut()
            elif stream.reader.ready and stream.running is not None:
                stream.reader.write(self._sign_of_life(stream.cursor))

    async def dismiss(self) -> None:
        """To be called every second: where a key has ended or an org was closed, its streams end.

        Without a stream nothing is asked."""
        places = {stream.caller.key.place for stream in self._seat_of if stream.caller.key}
        ended = set(await keys.ended(self._database, sorted(places))) if places else set()
        orgs = self._org_ids()
        closed = set(await remedies.closed_orgs(self._database, orgs)) if orgs else set()
        for stream in list(self._seat_of):
            key = stream.caller.key
            if stream.caller.org_id in closed or (key and key.place in ended):
                self._stop(stream)

    async def renew(self) -> None:
        """To be called every few minutes: orgs with a stream go on listening."""
        if self._seat_of:
            await events.listen_on(self._database, self._org_ids(), self._keep)

    def close(self) -> None:
        """The gateway is shutting down: every stream ends, and its reader may go on elsewhere."""
        self._closed = True
        for stream in list(self._seat_of):
            self._stop(stream)

    async def drained(self) -> None:
        """When all readers have gone, or had the time to."""
        if self._seat_of:
            self._empty = Deferred()
            self._empty.addTimeout(LAST_WORDS, self._reactor, lambda *_: None)
            await self._empty
        for stream in list(self._seat_of):
            stream.reader.cut()

    def _org_ids(self) -> list[str]:
        return sorted({stream.caller.org_id for stream in self._seat_of})

    # -- following -------------------------------------------------------------------------------

    def _stop(self, stream: Stream) -> None:
        running, stream.running = stream.running, None
        if running is not None:
            running.cancel()

    async def _run(self, stream: Stream) -> None:
        stream.running = Deferred.fromCoroutine(self._follow(stream))
        try:
            await stream.running
        except CancelledError:
            pass
        finally:
            stream.running = None
            stream.reader.close()

    async def _follow(self, stream: Stream) -> None:
        with self._bell.ear(stream.caller.org_id) as ear:
            while await self._turn(stream, ear):
                pass

    async def _turn(self, stream: Stream, ear: Ear) -> bool:
        """Read, write, and wait until there may be more; whether the stream goes on."""
        try:
            goes_on, more = await self._read(stream, ear)
        except Unavailable:
            await deferLater(self._reactor, RETRY * (0.5 + self.chance()))
            return True
        if goes_on and not stream.reader.ready:
            await stream.room()
        elif goes_on and not more:
            await deferLater(self._reactor, PAUSE)
            await ear.rings()
        return goes_on and not self._bell.closed

    async def _read(self, stream: Stream, ear: Ear) -> tuple[bool, bool]:
        """Whether the stream can go on, and whether there is more to read right now.

        Here, and in no frame that waits, is a chapter held.
        """
        org_id, after, wanted = stream.caller.org_id, stream.cursor, stream.wanted
        chapter: Chapter | None = await self._shared(
            (org_id, after, wanted), partial(self._chapter, org_id, after, wanted)
        )
        if chapter is None or after < chapter.bounds.first:
            return False, False
        ear.knows(chapter.bounds)
        return True, not stream.tell(chapter) or chapter.more

    async def _chapter(self, org_id: str, after: int, wanted: Wanted) -> Chapter | None:
        page = await events.read(self._database, org_id, after, PAGE, wanted)
        if page is None:
            return None
        lines = [(event.id, self._spell(event)) for event in page.events]
        return Chapter(lines, page.upto, page.more, page.bounds)

    async def _shared(self, what: Hashable, read: Callable[[], Any]) -> Any:
        return await self._readings.take(what, read)


def _wanted(query: EventQuery) -> Wanted:
    key = None if query.address is None else address_key(query.address)
    return Wanted(query.kinds, query.direction, key, query.sim)


def _begin(bounds: Bounds, named: str, cursor: int | None) -> int:
    """The cursor; without one, the last event."""
    if cursor is None:
        return bounds.last
    if cursor > bounds.last:
        fault = Fault([named], f"must be at most {bounds.last}, the id of the newest event")
        raise Invalid("The cursor is not one that this org was given.", errors=[fault])
    if cursor < bounds.first:
        raise EventsGone.below(bounds.first)
    return cursor
