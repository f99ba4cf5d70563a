"""What an endpoint answers, as far as it is wanted: a status, the first KiB, when to come back."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from smsd.outward.attempt import Attempt, Error

#: Bytes of an answer that are kept.
KEPT = 1024
#: Seconds that an endpoint may ask to be left alone for.
LONGEST_PAUSE = 86_400.0

_BUSY = (429, 503)


class Answer:
    """Fills as the answer comes in, so that whatever breaks it off leaves what was there."""

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._ended: float | None = None
        self._status: int | None = None
        self._retry_after: float | None = None
        self._body = _Body()

    async def read(
        self, response: IResponse, reactor: Any, time_of_day: Callable[[], float]
    ) -> None:
        """Takes the head, and the body to its end, however that comes."""
        self._status = int(response.code)
        if self._status in _BUSY:
            self._retry_after = retry_after(response.headers, time_of_day())
        response.deliverBody(self._body)
        await self._body.end
        self._ended = reactor.seconds()

    def attempt(self, error: Error | None, *, ended: float) -> Attempt:
        """What came of it; a status that was read is worth more than how the rest ended. Where the
        answer came whole, its end counts and not the connection's."""
        if self._ended is not None:
            ended = self._ended
        return Attempt(
            status=self._status,
            error=(error or "bad_answer") if self._status is None else None,
            ms=max(0, round(1000 * (ended - self._begun))),
            answer=self._body.text,
            retry_after=self._retry_after,
        )


class _Body(Protocol):
    """Keeps the beginning of a body."""

    def __init__(self) -> None:
        self.end: Deferred[None] = Deferred()
        self._kept = b""

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace").replace("\0", "\ufffd")

    def dataReceived(self, data: bytes) -> None:
        self._kept += data[: KEPT - len(self._kept)]

    def connectionLost(self, reason: Any = None) -> None:
        if not self.end.called:
            self.end.callback(None)


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds that ``Retry-After`` asks for (RFC 9110 10.2.3), from 0 to a day; None where it does
    not, or says nothing that can be read."""
    said = (headers.getRawHeaders("retry-after") or [""])[0].strip()
    if re.fullmatch("[0-9]{1,9}", said):
        seconds = float(said)
    else:
        try:
            seconds = parsedate_to_datetime(said).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)
