"""What is sent back: a status, a body and its headers, as a plain value.

How it reaches the wire is the request's part; what it says, the routes' and `problems`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from msgspec import Struct

JSON = "application/json"

#: Headers of every answer.
STANDARD = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

#: The head of an ordinary answer, as far as its date.
ORDINARY = (
    b"HTTP/1.1 200 OK\r\n"
    + b"".join(f"{name}: {value}\r\n".encode() for name, value in STANDARD.items())
    + f"Content-Type: {JSON}\r\nDate: ".encode()
)

#: Statuses that never carry a body (RFC 9110 section 6.4.1).
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Reply(Struct, frozen=True):
    """One answer. ``headers`` win over those that every answer carries."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = JSON
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    @property
    def phrase(self) -> bytes:
        return HTTPStatus(self.status).phrase.encode()

    @property
    def is_ordinary(self) -> bool:
        """Whether it is JSON, all is well, and nothing special is to be said of it."""
        return self.status == 200 and self.content_type == JSON and not self.headers

    def tail(self, request_id: bytes) -> bytes:
        """The end of an ordinary answer's head, behind its date."""
        return b"\r\nX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (request_id, len(self.body))

    def fields(self) -> dict[str, str]:
        """Its headers, those that follow from the body included."""
        fields = {"Content-Type": self.content_type} if self.content_type else {}
        if self.status not in BODILESS:
            fields["Content-Length"] = str(len(self.body))
        return {**fields, **self.headers}
