"""One HTTP connection: whose turn it is, deadlines, refusals, the hand-over to a WebSocket.

What bytes mean is `incoming`'s part, how answers leave `outflow`'s. Whatever is refused before it
is a request is a `Problem` that the reading raises, answered in one place. Nothing about a request
is ever logged.
"""

# mypy: allow-untyped-calls, allow-any-generics
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

import math
from typing import Any

from twisted.internet.interfaces import IConsumer, IProtocol, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from smsd.domain.errors import Problem, TooLarge, TooSlow
from smsd.rest import problems
from smsd.rest.head import Head
from smsd.rest.incoming import BITE, Incoming
from smsd.rest.outflow import Outflow
from smsd.rest.reply import STANDARD
from smsd.rest.request import BODY_LIMIT, Request
from smsd.rest.request_ids import HEADER

#: Seconds: a head and a whole request from their first byte; a connection between requests.
HEAD_WITHIN, WHOLE_WITHIN, IDLE_FOR = 10.0, 20.0, 75.0
#: How long a refused client may go on sending before it is cut.
LINGER = 2.0


class Channel(Outflow):
    """One connection: reads requests, answers them one at a time in their order, until it is
    closed or handed over."""

    requests: list[Request]

    #: Why this connection is refused before a word was said, if it is.
    unwelcome: Problem | None = None
    #: When the first byte of the present request came, None between requests.
    _since: float | None = None
    _closing = False
    #: What came and was not read yet.
    _held = b""
    #: Why no more is read; told when what came before is answered.
    _refusal: Problem | None = None
    #: The id of the request that is refused, if it had come so far as to have one.
    _refused = b""
    _answering = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self._incoming = Incoming(self)
        self._host = self.transport.getHost()
        self.due = self.site.deadlines.now() + IDLE_FOR
        self.site.deadlines.watch(self)
        if self.unwelcome is not None:
            self.refuse(self.unwelcome)

    def getHost(self) -> Any:
        """Where the client connected to; asked for each request, and the same for all."""
        return self._host

    # -- reading -------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if not self._closing:
            self._begin()
            self._held += data
            self._read()

    def _begin(self) -> None:
        if self._since is None:
            self._since = self.site.deadlines.now()
            self.due = self._since + HEAD_WITHIN

    def _read(self) -> None:
        while self._held and not (self._handlingRequest or self._refusal or self._closing):
            bite, self._held = self._held[:BITE], self._held[BITE:]
            try:
                self._incoming.feed(bite)
            except Problem as problem:
                self._refuse_in_turn(problem)
        if not self._closing and self._incoming.midway:
            self._begin()
        if len(self._held) > self._optimisticEagerReadSize and not self._waitingForTransport:
            self._networkProducer.pauseProducing()

    def head_read(self, head: Head) -> None:
        request = Request(self, head)
        request.lasting = head.lasting and not self.site.retired
        self.requests.append(request)
        if head.length > BODY_LIMIT:
            raise TooLarge
        if request is self.requests[0]:
            self._begin()
            self.due += WHOLE_WITHIN - HEAD_WITHIN
            if request.said(b"expect") == ["100-continue"]:
                self._send100Continue()

    def body_read(self, piece: bytes) -> None:
        self.requests[-1].take(piece)

    def request_read(self, behind: bytes = b"") -> None:
        self.requests[-1].whole = True
        self._held = behind + self._held
        self._answer()

    # -- answering -----------------------------------------------------------------------------

    def _answer(self) -> None:
        """See to the requests that are whole, as long as each is answered at once."""
        self._answering = True
        while self.requests and self.requests[0].whole and not self._handlingRequest:
            self._handlingRequest = True
            self.due = math.inf
            self.requests[0].received()
        self._answering = False

    def answer_left(self, request: Request) -> None:
        self.requests.remove(request)
        self._handlingRequest = False
        self._since = None
        self.due = self.site.deadlines.now() + IDLE_FOR
        if not request.lasting:
            self.loseConnection()
            return
        self._networkProducer.resumeProducing()
        if self.requests:  # its head came behind the other request
            self._begin()
            self.due += WHOLE_WITHIN - HEAD_WITHIN
        if not self._answering:
            self._go_on()

    def _go_on(self) -> None:
        self._answer()
        self._read()
        if self._refusal and not self.requests:
            self.refuse(self._refusal)

    def loseConnection(self) -> None:
        self._closing = True
        super().loseConnection()

    def _refuse_in_turn(self, problem: Problem) -> None:
        """Refuse the request that is being read, after those before it are answered."""
        self._refused = self._unread_request()
        if self.requests:
            self._refusal = problem
        else:
            self.refuse(problem)

    def _unread_request(self) -> bytes:
        """The id of the request that is being read, which nobody will answer any more."""
        if self.requests and not self.requests[-1].whole:
            return self.requests.pop().id
        return self._refused

    def refuse(self, problem: Problem) -> None:
        """Answer what will not be read to its end, and close in such a way that the answer
        arrives: a socket closed on unread bytes resets the connection, answer and all."""
        self._closing = True
        self._held = b""
        request_id = self._unread_request() or self.site.request_ids.new()
        self.requests.clear()
        reply = problems.told(problem)
        self.site.refusals[reply.status] += 1
        fields = {**reply.fields(), **STANDARD, HEADER: request_id.decode(), "Connection": "close"}
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
        for request in self.requests:
            request.be_last()

    def hand_over(self, protocol: IProtocol, head: bytes) -> None:
        """Let ``protocol`` have the transport, ``head`` and all bytes that were held back."""
        transport, held = self.transport, head + self._held
        self._end()
        if IConsumer.providedBy(transport):
            transport.unregisterProducer()
        transport.resumeProducing()
        _repoint(transport, self, protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(held)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._end()

    def _end(self) -> None:
        self._closing = True
        self._held = b""
        self.requests.clear()
        self._incoming.stop()
        del self._incoming  # it holds on to us: nothing is left to the garbage collector
        self.site.deadlines.forget(self)


def _repoint(transport: Any, old: Channel, new: IProtocol) -> None:
    """Make the transport deliver to ``new``, so that nothing refers to the channel any more."""
    for name in ("protocol", "wrappedProtocol"):  # a socket's name for it, and a TLS layer's
        if getattr(transport, name, None) is old:
            setattr(transport, name, new)
            return
    # Some other wrapper: pass everything on.
    old.dataReceived = new.dataReceived  # type: ignore[method-assign]
    old.connectionLost = new.connectionLost  # type: ignore[method-assign, assignment]
