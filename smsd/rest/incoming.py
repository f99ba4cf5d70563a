"""Bytes become requests: heads and bodies as llhttp reads them, within our limits.

llhttp is the parser of Node.js (here through httptools): in C, and strict wherever RFC 9112 leaves
a proxy and a server two readings. It takes a third of the time of a parser in Python. What it lets
through and the contract does not is refused here; answering is the channel's part.
"""

from __future__ import annotations

from typing import Protocol

import httptools

from smsd.domain.errors import BadRequest
from smsd.rest.head import LINE_LIMIT, Head, HeaderLines, LargeHead, LongPath

#: So much is read at once, so that of a client that does not wait for answers few requests
#: become objects before their turn. Bytes.
BITE = 4096
#: llhttp keeps what it has of a line; past this nothing can come of it. Bytes.
UNFINISHED_LIMIT = LINE_LIMIT + BITE


class Listener(Protocol):
    """For whom the requests are. A `Problem` that it raises comes out of `Incoming.feed`."""

    def head_read(self, head: Head) -> None:
        """The head of the next request is here."""

    def body_read(self, piece: bytes) -> None:
        """More of the body of the request whose head came last."""

    def request_read(self, behind: bytes = b"") -> None:
        """That request is whole. ``behind`` a WebSocket's handshake are bytes that are no HTTP,
        unless it is refused."""


class Incoming:
    """Reads what one client sends; the methods that begin with ``on_`` are llhttp's."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        #: Whether a request has begun, and whether its head has not ended yet.
        self.midway = self._in_head = False
        #: llhttp will leave what follows this head to another protocol.
        self._leaves = False
        #: What comes now says once more how long a request is whose head was read before.
        self._again = False
        self._lasting = True

    def feed(self, data: bytes) -> None:
        """Read on; raises `Problem`, after which there is no sense in reading further."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leave(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserInvalidMethodError:
            raise BadRequest(
                "There is no such HTTP method; they are written in capitals."
            ) from None
        except httptools.HttpParserError:
            if self._lasting or self.midway:
                raise BadRequest("This is not HTTP/1.1 as RFC 9112 has it.") from None
        if self._in_head:
            self._unfinished += len(data)
            if self._unfinished > UNFINISHED_LIMIT:
                raise LargeHead

    def stop(self) -> None:
        """Nothing is read any more: let go of the parser, which holds on to us."""
        del self._parser

    def _leave(self, rest: bytes) -> None:
        """llhttp stops where a client asks for another protocol; we mostly go on with HTTP."""
        self._parser = httptools.HttpRequestParser(self)
        self._leaves = False
        if self._head.opens_a_socket:
            self._whole(rest)
            return
        self._again = True
        self.feed(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(self._head.framing()))
        if rest:
            self.feed(rest)

    def on_message_begin(self) -> None:
        if not self._again:
            self.midway = self._in_head = True
            self._unfinished = 0
            self._target = b""
            self._lines = HeaderLines()

    def on_url(self, piece: bytes) -> None:
        if not self._again:
            self._target += piece
            if len(self._target) > LINE_LIMIT:
                raise LongPath

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # and not behind a body in chunks, where nobody looks
            self._unfinished = 0
            self._lines.add(name, value)

    def on_headers_complete(self) -> None:
        if self._again:
            self._again = False
            return
        self._in_head = False
        parser = self._parser
        version = parser.get_http_version().encode()
        self._lasting = version == b"1.1" and parser.should_keep_alive()
        self._head = Head(
            parser.get_method(), self._target, version, self._lines.headers, self._lasting
        )
        self._head.doubt()
        self._leaves = parser.should_upgrade()
        self._listener.head_read(self._head)

    def on_body(self, piece: bytes) -> None:
        self._listener.body_read(piece)

    def on_message_complete(self) -> None:
        if not self._leaves:
            self._whole()

    def _whole(self, behind: bytes = b"") -> None:
        self.midway = False
        self._listener.request_read(behind)
