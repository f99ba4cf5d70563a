"""A connection that is an event stream, as ``text/event-stream`` spells it (HTML, section 9.2).

The request is answered with a head and handed over: from then on nothing is read, and what is
written the reader must take. What is written, and when, is the gateway's part.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from smsd.gateway.stream import Stream
from smsd.gateway.streams import Streams
from smsd.rest.outflow import READ_LEAST, unacknowledged
from smsd.rest.reply import STANDARD
from smsd.rest.request import Request
from smsd.rest.request_ids import HEADER
from smsd.store.events import Event

EVENT_STREAM = "text/event-stream"
#: nginx would else keep back what it has not filled a buffer with.
_UNBUFFERED = {"X-Accel-Buffering": "no"}
#: Milliseconds after which a reader comes back: at least, and by chance so many more, so that not
#: all come in the same moment.
_BACK_AFTER, _OR_LATER = 1000, 2000


def spelt(event: Event) -> bytes:
    """One event. Its data is one line: a line break in JSON text is only space."""
    data = event.data.replace("\n", "")
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n".encode()


def sign_of_life(cursor: int) -> bytes:
    """A comment, which keeps the connection; the cursor of a reader that was told of nothing goes
    along with what it has missed nothing of."""
    return b":\nid: %d\n\n" % cursor


def preface(cursor: int, chance: float) -> bytes:
    """What comes first: when to come back, and from where."""
    return b"retry: %d\nid: %d\n\n" % (_BACK_AFTER + _OR_LATER * chance, cursor)


def head(request: Request) -> bytes:
    """The head of the answer: without a length, for its end is the connection's."""
    fields = {
        **STANDARD,
        **_UNBUFFERED,
        "Content-Type": EVENT_STREAM,
        "Date": request.site.date().decode(),
        HEADER: request.id.decode(),
        "Connection": "close",
    }
    for name, value in fields.items():
        request.responseHeaders.setRawHeaders(name, [value])
    lines = [
        name + b": " + value
        for name, values in request.responseHeaders.getAllRawHeaders()
        for value in values
    ]
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


@implementer(IPushProducer)
class EventLine(Protocol):
    """The connection: writes no more than is taken, and knows when nothing is."""

    transport: Any

    ready = True
    _written = 0
    #: How much was taken when last something waited to be.
    _taken: int | None = None
    _stream: Stream | None = None

    def __init__(
        self, streams: Streams, first: bytes, begin: Callable[[EventLine], Stream] | None
    ) -> None:
        """``first`` is written at once; without ``begin`` nothing else is."""
        self._streams = streams
        self._first = first
        self._begin = begin

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.write(self._first)
        if self._begin is None:
            self.close()
        else:
            self._stream = self._begin(self)
        del self._first, self._begin

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ready = False
        if self._stream is not None:
            self._streams.gone(self._stream)

    # -- the gateway's reader ------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._written += len(data)
        self.transport.write(data)

    def is_stuck(self) -> bool:
        waiting = unacknowledged(self.transport)
        before, self._taken = self._taken, self._written - waiting if waiting else None
        if self._taken is None or before is None:
            return False
        return self._taken - before < (1 if self.ready else READ_LEAST)

    def close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def cut(self) -> None:
        self.transport.abortConnection()

    # -- the transport's producer --------------------------------------------------------------

    def pauseProducing(self) -> None:
        self.ready = False

    def resumeProducing(self) -> None:
        self.ready = True
        if self._stream is not None:
            self._stream.go_on()

    def stopProducing(self) -> None:
        """The connection ends, and `connectionLost` says so."""
