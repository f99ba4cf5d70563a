"""The head of a request: no larger than this, and not open to two readings.

The second is RFC 9112's concern: a proxy that understood a head differently would let a request
hide in another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from smsd.domain.errors import BadRequest, Problem

LINE_LIMIT, HEAD_LIMIT, HEADER_LINES = 8 * 1024, 16 * 1024, 64


class LongPath(Problem):
    """The path is over 8 KiB."""

    slug, title, status = "long_path", "URI too long", 414


class LargeHead(Problem):
    """The head is too large: at most 64 headers, 8 KiB each and 16 KiB together."""

    slug, title, status = "large_head", "Request header fields too large", 431


class Head(NamedTuple):
    """What stands before the body. Names of headers are in lower case."""

    method: bytes
    target: bytes
    version: bytes
    headers: Mapping[bytes, Sequence[bytes]]
    #: Whether the client wants to send another request behind this one.
    lasting: bool

    @property
    def length(self) -> int:
        """Of the body, as far as it is known: 0 for one in chunks."""
        return int(self.headers.get(b"content-length", (b"0",))[0])

    @property
    def opens_a_socket(self) -> bool:
        """Whether what follows may be a WebSocket's."""
        upgrade = b",".join(self.headers.get(b"upgrade", ())).lower()
        return b"websocket" in upgrade and self.method == b"GET" and not any(self.framing())

    def framing(self) -> Iterator[bytes]:
        """The header lines that say where the body ends."""
        for name in (b"content-length", b"transfer-encoding"):
            for value in self.headers.get(name, ()):
                yield name + b": " + value + b"\r\n"

    def doubt(self) -> None:
        """Raises `BadRequest` where the head can be understood in two ways."""
        if self.version not in (b"1.0", b"1.1"):
            raise BadRequest("The version is HTTP/1.1, or HTTP/1.0.")
        hosts = len(self.headers.get(b"host", ()))
        if hosts > 1 or (not hosts and self.version == b"1.1"):
            raise BadRequest("Send exactly one Host header.")
        coding = self.headers.get(b"transfer-encoding")
        if coding and ([c.lower() for c in coding] != [b"chunked"] or self.version != b"1.1"):
            raise BadRequest("The only Transfer-Encoding is chunked, once, in HTTP/1.1.")


class HeaderLines:
    """The header lines of one request as they come."""

    __slots__ = ("_lines", "_weight", "headers")

    def __init__(self) -> None:
        self.headers: dict[bytes, list[bytes]] = {}
        self._lines = self._weight = 0

    def add(self, name: bytes, value: bytes) -> None:
        """Raises `LargeHead`."""
        size = len(name) + len(value) + 2
        self._lines += 1
        self._weight += size
        if self._lines > HEADER_LINES or self._weight > HEAD_LIMIT or size > LINE_LIMIT:
            raise LargeHead
        self.headers.setdefault(name.lower(), []).append(value)
