"""Which web pages of other origins may read our answers (CORS). By default none.

No cookies are used, so an origin gains nothing that it could not do without a browser; it must
know a secret like everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smsd.rest.request import Request

ANY = "*"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Secret-Key, X-Org-Id, "
    "X-Claim-Token, X-Request-Id, Idempotency-Key, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "Retry-After, X-Request-Id, Idempotent-Replayed"


class Cors:
    """The origins that the operator allows, as browsers write them, or ``*`` for all."""

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self.allow(origins)

    def allow(self, origins: Sequence[str]) -> None:
        """From here on these and no others."""
        self._origins = frozenset(origin.lower() for origin in origins)

    def allows(self, origin: str) -> bool:
        """Whether this very origin is listed; ``*`` does not count."""
        return origin.lower() in self._origins

    def mark(self, request: Request) -> None:
        """Put on any answer what lets an allowed page read it."""
        if not self._origins:
            return
        request.responseHeaders.setRawHeaders(b"Vary", [b"Origin"])
        for origin in request.said(b"origin")[:1]:
            if ANY in self._origins or self.allows(origin):
                said = ANY if ANY in self._origins else origin
                _set(request, {"Access-Control-Allow-Origin": said})
                _set(request, {"Access-Control-Expose-Headers": _EXPOSED})

    def mark_preflight(self, request: Request) -> None:
        """Put on the answer to ``OPTIONS`` what an allowed page may send."""
        if request.responseHeaders.hasHeader(b"Access-Control-Allow-Origin"):
            _set(request, _PREFLIGHT)


def _set(request: Request, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
