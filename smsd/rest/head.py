"""What the head of a request may be: no larger than this, and not open to two readings.

The second is RFC 9112's concern: a proxy that understood a head differently would let a request
hide in another one.
"""

from __future__ import annotations

from smsd.domain.errors import BadRequest, Problem
from smsd.rest.request import Request

LINE_LIMIT, HEAD_LIMIT, HEADER_LINES = 8 * 1024, 16 * 1024, 64


class LongPath(Problem):
    """The path is over 8 KiB."""

    slug, title, status = "long_path", "URI too long", 414


class LargeHead(Problem):
    """The head is too large: at most 64 headers, 8 KiB each and 16 KiB together."""

    slug, title, status = "large_head", "Request header fields too large", 431


class Weight:
    """Weighs the header lines of one request as they come."""

    __slots__ = ("_bytes", "_lines")

    def __init__(self) -> None:
        self._lines = self._bytes = 0

    def add(self, line: bytes) -> None:
        """Raises `LargeHead`, or `BadRequest` for a line that goes on with the one before."""
        if line[:1] in (b" ", b"\t"):
            raise BadRequest("A header must not be folded over several lines.")
        self._lines += 1
        self._bytes += len(line)
        if self._lines > HEADER_LINES or self._bytes > HEAD_LIMIT:
            raise LargeHead


def doubt(request: Request, version: bytes) -> None:
    """Raises `BadRequest` for a whole head that can be understood in two ways."""
    hosts = request.requestHeaders.getRawHeaders(b"Host") or []
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise BadRequest("Send exactly one Host header.")
    coding = request.requestHeaders.getRawHeaders(b"Transfer-Encoding") or []
    if coding and ([c.lower() for c in coding] != [b"chunked"] or version != b"HTTP/1.1"):
        raise BadRequest("The only Transfer-Encoding is chunked, once, in HTTP/1.1.")
