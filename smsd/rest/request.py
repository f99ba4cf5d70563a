"""One HTTP request as the gateway sees it: a body in memory, a path in pieces, one reply.

Forms and multipart bodies are never parsed: nobody here wants them, and of the 181 us in which bare
twisted.web answers a webhook it looks for them in 109. The path is split first and decoded later
(by the routes), so that ``%2F`` is part of a secret. Nothing that prints a request shows where it
went: paths carry secrets. What bytes mean before there is a request is `channel`'s part.
"""

# mypy: allow-untyped-calls
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web import server

from smsd.domain.cause import caused_by
from smsd.domain.errors import TooLarge
from smsd.rest import problems
from smsd.rest.address import client_address
from smsd.rest.reply import ORDINARY, STANDARD, Reply
from smsd.rest.request_ids import HEADER

if TYPE_CHECKING:
    from smsd.rest.channel import Channel
    from smsd.rest.head import Head
    from smsd.rest.site import Site

BODY_LIMIT = 1024 * 1024

#: What the WebSocket handshake needs of the request, and nothing that should not travel on.
_HANDSHAKE = (
    b"Host",
    b"Upgrade",
    b"Connection",
    b"Sec-WebSocket-Key",
    b"Sec-WebSocket-Version",
    b"Sec-WebSocket-Protocol",
)


_OWN_ID = HEADER.lower().encode()


class Request(server.Request):
    """A request that was read whole. ``gone`` is true once its client hung up; ``id`` is the name
    under which the log knows it."""

    defaultContentType = None
    uri = b"(withheld)"
    query = b""
    gone = False
    #: Whether its answer waits for something to happen, because it asked for that.
    waits = False
    #: Whether all of it was read, and whether another one may follow it.
    whole = False
    lasting = True
    #: The status under which its connection was left to another protocol, if it was.
    left_with: int = HTTPStatus.SWITCHING_PROTOCOLS
    channel: Any
    site: Site

    def __init__(self, channel: Channel, head: Head) -> None:
        super().__init__(channel, False)
        self.head = head
        self.id = channel.site.request_ids.of(head.headers.get(_OWN_ID, ()))
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, piece: bytes) -> None:
        """More of the body; raises `TooLarge`."""
        self._size += len(piece)
        if self._size > BODY_LIMIT:
            raise TooLarge
        self._pieces.append(piece)

    def received(self) -> None:
        """The request is whole, and it is its turn."""
        self.method, self.clientproto = self.head.method, b"HTTP/" + self.head.version
        self.path, _, self.query = self.head.target.partition(b"?")
        self.args = {}
        if not self.lasting:
            self.be_last()
        caused_by(self.id, self.process)

    def be_last(self) -> None:
        """No other request may follow, and the answer says so."""
        self.lasting = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def process(self) -> None:
        """Give the request to the site's one resource, the path still encoded."""
        self.site = cast("Site", self.channel.site)
        self.prepath = []
        rooted = self.path.startswith(b"/")  # else OPTIONS *, a proxy's form, or CONNECT's
        self.postpath = self.path[1:].split(b"/") if rooted else [self.path]
        self.render(self.site.resource)

    def processingFailed(self, reason: Failure) -> Failure:
        """The last resort where even an error could not be told."""
        self.write(self.put(problems.incident(cast(BaseException, reason.value))))
        self.finish()
        return reason

    def deliver(self, reply: Reply) -> None:
        """Write all of an answer and be done with the request, if its client is still there.

        An ordinary one leaves in one piece, without the objects that Twisted makes of headers:
        that halves what an answer costs.
        """
        if self.gone:
            return
        if reply.is_ordinary and not any(self.responseHeaders.getAllRawHeaders()):
            self.startedWriting = 1
            self.channel.writeSequence(
                [ORDINARY, self.site.date(), reply.tail(self.id), reply.body]
            )
        else:
            self.write(self.put(reply))
        self.finish()

    def put(self, reply: Reply) -> bytes:
        """Set everything of ``reply`` but its body, and return that for writing."""
        self.setResponseCode(reply.status, HTTPStatus(reply.status).phrase.encode())
        dated = {"Date": self.site.date().decode(), HEADER: self.id.decode()}
        fields = {**dated, **STANDARD, **reply.fields()}
        for name, value in fields.items():
            if name == "Vary":
                self.responseHeaders.addRawHeader(name, value)
            else:
                self.responseHeaders.setRawHeaders(name, [value])
        return reply.body

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    @property
    def address(self) -> str:
        """The client's address, as far as it can be believed."""
        forwarded = self.head.headers.get(b"x-forwarded-for", ())
        return client_address(self.client, forwarded, self.site.proxies)

    def said(self, header: bytes) -> list[str]:
        """Every value of a header, whose name is in lower case. What is not UTF-8 becomes lone
        surrogates, which no identity may hold."""
        raw = self.head.headers.get(header)
        if raw is None:  # as nearly always: a request of an agent has two of those that we ask for
            return []
        return [value.decode("utf-8", "surrogateescape") for value in raw]

    def getRequestHostname(self) -> bytes:
        """The same for all: Klein asks only to build links, and trips over odd ``Host``s."""
        return b"localhost"

    def hand_over(self, protocol: IProtocol, head: bytes | None = None) -> None:
        """Leave the connection to ``protocol``: from now on it is no HTTP connection.

        It is fed ``head`` (by default the request's own, rewritten without path, query and
        secrets) and then every byte that came behind the request. Where the client hung up
        meanwhile, nothing happens.
        """
        if self.gone:
            return
        channel: Channel = self.channel
        told, self.notifications = self.notifications, []
        self.channel = self.transport = None
        self.finished = 1
        channel.hand_over(protocol, self.handshake() if head is None else head)
        for finished in told:
            finished.callback(None)

    def handshake(self) -> bytes:
        """The request's head as a WebSocket protocol needs it to answer."""
        lines = [b"GET /websocket HTTP/1.1"]
        for name in _HANDSHAKE:
            values = self.head.headers.get(name.lower(), ())
            lines += [name + b": " + value for value in values]
        lines.append(HEADER.encode() + b": " + self.id)
        return b"\r\n".join([*lines, b"", b""])

    def connectionLost(self, reason: Failure) -> None:
        self.gone = True
        super().connectionLost(reason)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method.decode('latin-1')}>"

    def __getstate__(self) -> Any:
        raise TypeError("a request is not to be stored or sent elsewhere")
