"""In how many ways a post may end without an answer, and the word for each."""

from __future__ import annotations

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.web.client import (
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
)

from smsd.outward.attempt import Error
from smsd.outward.names import Unknown
from smsd.outward.urls import RefusedAddress, RefusedUrl

_BROKEN = (RequestTransmissionFailed, RequestGenerationFailed, ResponseFailed)
_CANCELLED = (CancelledError, ConnectingCancelledError)
_WORDS: tuple[tuple[type[Exception], Error], ...] = (
    (RefusedAddress, "refused_address"),
    (RefusedUrl, "refused_url"),
    (Unknown, "unknown_name"),
    (ConnectError, "unreachable"),
)

#: All that another side, or its name, can do to us; anything else is a fault of our own.
KNOWN: tuple[type[Exception], ...] = (
    *_BROKEN,
    *_CANCELLED,
    ConnectionClosed,
    *(kind for kind, _ in _WORDS),
)


def ending_of(error: Exception) -> Error:
    """The word for one of `KNOWN`; raises CancelledError where somebody wanted it to end."""
    if _has(error, _CANCELLED):
        raise CancelledError from None
    if _has(error, (TlsError, VerificationError)):
        return "tls_failed"
    return next((word for kind, word in _WORDS if isinstance(error, kind)), "bad_answer")


def _has(error: Exception, kinds: tuple[type[Exception], ...]) -> bool:
    reasons = error.reasons if isinstance(error, _BROKEN) else []
    return isinstance(error, kinds) or any(reason.check(*kinds) for reason in reasons)
