"""One HTTP connection, and the site that accepts them: limits, deadlines, the hand-over.

Twisted's parser does the reading. What it lets through and the contract does not (large or odd
heads, bodies without end, clients that never finish) is refused here: every refusal is a `Problem`
raised through the parser and answered in one place. Nothing about a request is ever logged.
"""

# mypy: allow-untyped-calls, allow-any-generics
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IConsumer, IProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from smsd.domain.errors import BadRequest, Problem, TooSlow
from smsd.rest import problems
from smsd.rest.address import Network
from smsd.rest.crowd import Crowd
from smsd.rest.deadlines import Deadlines
from smsd.rest.head import HEAD_LIMIT, LINE_LIMIT, LargeHead, LongPath, Weight, doubt
from smsd.rest.outflow import Outflow
from smsd.rest.reply import STANDARD
from smsd.rest.request import Request

#: Seconds: a head and a whole request from their first byte; a connection between requests.
HEAD_WITHIN, WHOLE_WITHIN, IDLE_FOR = 10.0, 20.0, 75.0
#: How long a refused client may go on sending before it is cut.
LINGER = 2.0


class Channel(Outflow):
    """One connection: reads requests, one at a time, until it is closed or handed over."""

    MAX_LENGTH = LINE_LIMIT
    totalHeadersSize = HEAD_LIMIT + 2 * LINE_LIMIT  # ours is met first, and says more
    #: Why this connection is refused before a word was said, if it is.
    unwelcome: Problem | None = None
    #: When the first byte of the present request came, None between requests.
    _since: float | None = None
    _closing = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self._weight = Weight()
        self.due = self.site.deadlines.now() + IDLE_FOR
        self.site.deadlines.watch(self)
        if self.unwelcome is not None:
            self.refuse(self.unwelcome)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._begin()
        try:
            super().dataReceived(data)
        except Problem as problem:
            self.refuse(problem)
        if self._buffer:  # the beginning of a request, behind one that is answered already
            self._begin()

    def _begin(self) -> None:
        if self._since is None:
            self._since = self.site.deadlines.now()
            self.due = self._since + HEAD_WITHIN

    def lineReceived(self, line: bytes) -> None:
        self._begin()
        if self.requests and line:
            self._weight.add(line)
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        raise LargeHead if self.requests else LongPath

    def allHeadersReceived(self) -> None:
        self._weight = Weight()
        self.due += WHOLE_WITHIN - HEAD_WITHIN
        doubt(self.requests[-1], self._version)
        super().allHeadersReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        lasting = bool(super().checkPersistence(request, version)) and not self.site.retired
        if not lasting:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return lasting

    def allContentReceived(self) -> None:
        self.due = math.inf
        super().allContentReceived()

    def answer_left(self) -> None:
        self._since = None
        self.due = self.site.deadlines.now() + IDLE_FOR

    def loseConnection(self) -> None:
        self._closing = True
        super().loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        raise BadRequest("This is not HTTP/1.1 as RFC 9112 has it.")

    def refuse(self, problem: Problem) -> None:
        """Answer what will not be read to its end, and close in such a way that the answer
        arrives: a socket closed on unread bytes resets the connection, answer and all."""
        self._closing = True
        self.clearLineBuffer()  # what was read so far may be large, and nobody wants it now
        self.requests.clear()
        reply = problems.told(problem)
        fields = {**reply.fields(), **STANDARD, "Connection": "close"}
        head = [b"HTTP/1.1 %d %s" % (reply.status, reply.phrase)]
        head += [f"{name}: {value}".encode() for name, value in fields.items()]
        self.transport.write(b"\r\n".join([*head, b"", reply.body]))
        self.due = self.site.deadlines.now() + LINGER
        if ITCPTransport.providedBy(self.transport) and not self.isSecure():
            self.transport.loseWriteConnection()

    def expire(self) -> None:
        """The time is up: for a request, for the next one, or for reading the answer."""
        if self.cut_unless_read():
            return
        if self._closing or self._since is None:
            self.loseConnection()
        else:
            self.refuse(TooSlow())

    def retire(self) -> None:
        """Close now if nothing is going on; else after the answer."""
        if self._since is None:
            self.loseConnection()
        self.persistent = False

    def hand_over(self, protocol: IProtocol, head: bytes) -> None:
        """Let ``protocol`` have the transport, ``head`` and all bytes that were held back."""
        transport, held = self.transport, [head, *self._dataBuffer, self.clearLineBuffer()]
        self.site.deadlines.forget(self)
        self.requests.clear()
        self._dataBuffer = []
        self._closing = True
        if IConsumer.providedBy(transport):
            transport.unregisterProducer()
        transport.resumeProducing()
        _repoint(transport, self, protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"".join(held))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.deadlines.forget(self)
        super().connectionLost(reason)


class Site(server.Site):
    """Accepts connections for one resource. It keeps no access log: paths carry secrets."""

    protocol = Channel  # type: ignore[assignment]  # Twisted's own is a proxy that also speaks h2
    requestFactory = Request
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        proxies: Sequence[Network] = (),
        most_per_address: int = 0,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        # The channel keeps its own deadlines, so Twisted's idle time-out is off.
        super().__init__(resource, reactor=reactor, timeout=None)
        self.deadlines: Deadlines[Channel] = Deadlines(reactor)
        self._time_of_day = time_of_day
        self._dated, self._date = -1, b""
        self.proxies = proxies
        self.retired = False
        self._crowd = Crowd(most_per_address, proxies)

    def buildProtocol(self, addr: Any) -> Any:
        channel: Channel = super().buildProtocol(addr)
        try:
            self._crowd.check(addr)
        except Problem as problem:
            channel.unwelcome = problem
            return channel
        return self._crowd.counted(channel, addr)

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    def date(self) -> bytes:
        """The time of day as answers carry it; made anew once a second."""
        now = int(self._time_of_day())
        if now != self._dated:
            self._dated, self._date = now, datetimeToString(now)
        return self._date

    def startFactory(self) -> None:
        """No log file, no clock for its dates."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Any) -> None:
        """Not a word."""

    def retire(self) -> None:
        """Take no further request: idle connections close now, the others after their answer."""
        self.retired = True
        for channel in self.deadlines.watched():
            channel.retire()


def _repoint(transport: Any, old: Channel, new: IProtocol) -> None:
    """Make the transport deliver to ``new``, so that nothing refers to the channel any more."""
    for name in ("protocol", "wrappedProtocol"):  # a socket's name for it, and a TLS layer's
        if getattr(transport, name, None) is old:
            setattr(transport, name, new)
            return
    # Some other wrapper: pass everything on.
    old.dataReceived = new.dataReceived  # type: ignore[method-assign]
    old.connectionLost = new.connectionLost  # type: ignore[method-assign, assignment]
