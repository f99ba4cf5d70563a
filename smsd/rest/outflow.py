"""The writing half of a connection: large answers in pieces, none for who does not read.

A transport takes and copies whatever it is given, and waits for ever. Two thousand clients that ask
for a page of a megabyte and read nothing would cost gigabytes. So the transport gets a piece at a
time, the next request waits until the answer before it has left, and a client that takes nothing
of what waits for it is cut. How requests are read is `channel`'s part.
"""

# mypy: allow-untyped-calls, allow-any-generics
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

import fcntl
import math
import struct
import termios
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

if TYPE_CHECKING:
    from smsd.rest.request import Request
    from smsd.rest.site import Site

#: Bytes. Two pieces are more than a transport takes before it asks for a pause.
PIECE = 33 * 1024
#: Who does not take so many bytes in so many seconds of an answer that waits for them is cut.
READ_LEAST, READ_WITHIN = 10 * 1024, 10.0


class Outflow(HTTPChannel):
    """Writes answers no faster than they are read, and notices where they are not."""

    site: Site
    transport: Any

    #: When something must have happened; the phases of a connection only move this.
    due = math.inf
    #: The request whose answer is on its way; the next one is not read before that has left.
    _answered: Request | None = None
    _unread = 0

    def connectionMade(self) -> None:
        self._waiting: deque[memoryview] = deque()
        super().connectionMade()

    def write(self, data: bytes) -> None:
        if len(data) <= PIECE and not self._waiting:
            self.transport.write(data)
        else:
            self._waiting.append(memoryview(data))
            self._pour()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        *head, body = iovec
        if len(body) <= PIECE and not self._waiting:
            self.transport.writeSequence([*head, body])
        else:
            self.write(b"".join(head))
            self.write(body)

    def _pour(self) -> None:
        while self._waiting and not self._waitingForTransport:
            first = self._waiting.popleft()
            if len(first) > PIECE:
                self._waiting.appendleft(first[PIECE:])
            self.transport.write(bytes(first[:PIECE]))

    def requestDone(self, request: Request) -> None:
        if self._waitingForTransport:
            self._answered = request
        else:
            self._answered = None
            self.answer_left(request)

    def answer_left(self, request: Request) -> None:
        """The transport has all of the answer: the next request may come."""

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._networkProducer.pauseProducing()  # Twisted's own reads on during a request
        self.await_reading()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._pour()
        if self._answered is not None:
            self.requestDone(self._answered)

    def loseConnection(self) -> None:
        self.await_reading()
        super().loseConnection()

    def await_reading(self) -> None:
        """From now on the client must take what waits for it."""
        self._unread = unacknowledged(self.transport)
        self.due = self.site.deadlines.now() + READ_WITHIN

    def cut_unless_read(self) -> bool:
        """Whether an answer waits to be read; if the client does not take it, this was its end."""
        if not (self.transport.disconnecting or self._waitingForTransport):
            return False
        if unacknowledged(self.transport) <= self._unread - READ_LEAST:
            self.await_reading()
        else:
            self.transport.abortConnection()
        return True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._answered is not None:
            self.requests.remove(self._answered)  # it has its answer
            self._answered = None
        super().connectionLost(reason)


def unacknowledged(transport: Any) -> int:
    """How many bytes that were written the client's machine has not acknowledged.

    The kernel's share counts too: a slow client empties that long before Twisted can write more.
    """
    held = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    held += getattr(transport, "_tempDataLen", 0)
    try:
        answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
    except (AttributeError, OSError, ValueError):  # no socket, or none any more
        return int(held)
    return int(held + struct.unpack("i", answer)[0])
