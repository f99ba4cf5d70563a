"""One HTTP connection, and the site that accepts them: limits, deadlines, the hand-over.

Twisted's parser does the reading. Here is what it lets through and the contract does not:
bodies and heads without a limit, clients that never finish, heads that two parsers may read
differently (RFC 9112). Every refusal is a `Problem` raised through the parser and answered in one
place. Nothing about a request is ever logged.
"""

# mypy: allow-untyped-calls, allow-any-generics
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IConsumer, IProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource

from smsd.domain.errors import BadRequest, Problem, TooSlow
from smsd.rest import problems
from smsd.rest.address import Network
from smsd.rest.deadlines import Deadlines
from smsd.rest.reply import STANDARD
from smsd.rest.request import Request

#: Seconds: a head and a whole request from their first byte; a connection between requests.
HEAD_WITHIN, WHOLE_WITHIN, IDLE_FOR = 10.0, 20.0, 75.0
#: How long a refused client may go on sending before it is cut, and a closed one may dawdle.
LINGER, CLOSE_WITHIN = 2.0, 15.0

LINE_LIMIT, HEAD_LIMIT, HEADER_LINES = 8 * 1024, 16 * 1024, 64


class LongPath(Problem):
    """The path is over 8 KiB."""

    slug, title, status = "long_path", "URI too long", 414


class LargeHead(Problem):
    """The head is too large: at most 64 headers, 8 KiB each and 16 KiB together."""

    slug, title, status = "large_head", "Request header fields too large", 431


class Channel(HTTPChannel):
    """One connection: reads requests, one at a time, until it is closed or handed over."""

    MAX_LENGTH = LINE_LIMIT
    totalHeadersSize = HEAD_LIMIT + 2 * LINE_LIMIT  # ours is met first, and says more
    site: Site
    transport: Any

    #: When something must have happened; the phases of a connection only move this.
    due = math.inf
    #: When the first byte of the present request came, None between requests.
    _since: float | None = None
    _closing = False
    _lines = 0
    _weight = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self.due = self.site.deadlines.now() + IDLE_FOR
        self.site.deadlines.watch(self)

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
            self._weigh(line)
        super().lineReceived(line)

    def _weigh(self, line: bytes) -> None:
        if line[:1] in (b" ", b"\t"):
            raise BadRequest("A header must not be folded over several lines.")
        self._lines += 1
        self._weight += len(line)
        if self._lines > HEADER_LINES or self._weight > HEAD_LIMIT:
            raise LargeHead

    def lineLengthExceeded(self, line: bytes) -> None:
        raise LargeHead if self.requests else LongPath

    def allHeadersReceived(self) -> None:
        self._lines = self._weight = 0
        self.due += WHOLE_WITHIN - HEAD_WITHIN
        self._doubt(self.requests[-1])
        super().allHeadersReceived()

    def _doubt(self, request: Request) -> None:
        """Refuse what a proxy before us may have understood differently."""
        hosts = request.requestHeaders.getRawHeaders(b"Host") or []
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            raise BadRequest("Send exactly one Host header.")
        coding = request.requestHeaders.getRawHeaders(b"Transfer-Encoding") or []
        if coding and ([c.lower() for c in coding] != [b"chunked"] or self._version != b"HTTP/1.1"):
            raise BadRequest("The only Transfer-Encoding is chunked, once, in HTTP/1.1.")

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        lasting = bool(super().checkPersistence(request, version)) and not self.site.retired
        if not lasting:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return lasting

    def allContentReceived(self) -> None:
        self.due = math.inf
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self._since = None
        self.due = self.site.deadlines.now() + IDLE_FOR
        super().requestDone(request)

    def loseConnection(self) -> None:
        self._closing = True
        self.due = self.site.deadlines.now() + CLOSE_WITHIN
        super().loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        raise BadRequest("This is not HTTP/1.1 as RFC 9112 has it.")

    def refuse(self, problem: Problem) -> None:
        """Answer what will not be read to its end, and close in such a way that the answer
        arrives: a socket closed on unread bytes resets the connection, answer and all."""
        self._closing = True
        self.clearLineBuffer()
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
        """The time is up: for a request, for the next one, or for closing."""
        if self.transport.disconnecting:
            self.transport.abortConnection()
        elif self._closing or self._since is None:
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
        self, resource: IResource, reactor: IReactorTime, proxies: Sequence[Network] = ()
    ) -> None:
        # The channel keeps its own deadlines, so Twisted's idle time-out is off.
        super().__init__(resource, reactor=reactor, timeout=None)
        self.deadlines: Deadlines[Channel] = Deadlines(reactor)
        self.proxies = proxies
        self.retired = False

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

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
