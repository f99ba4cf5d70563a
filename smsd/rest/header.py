"""A header that a route takes: its shape is checked here, its meaning is the gateway's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smsd.domain.call_key import LENGTH, SHAPE
from smsd.domain.errors import Fault, Invalid
from smsd.gateway.once import HEADER
from smsd.rest.request import Request


@dataclass(frozen=True)
class Header:
    """``right`` completes "must be …"; ``description`` is for the OpenAPI document."""

    name: str
    shape: str
    right: str
    description: str

    def read(self, request: Request) -> str | None:
        """What the request says; None where it says nothing. Raises `Invalid`."""
        said = request.said(self.name.lower().encode())
        if not said:
            return None
        if len(set(said)) > 1:
            raise self._wrong("was sent twice, with two values")
        if not re.fullmatch(self.shape, said[0]) or said[0].endswith("\n"):
            raise self._wrong(f"must be {self.right}")
        return said[0]

    def _wrong(self, what: str) -> Invalid:
        return Invalid("A header has a wrong value.", errors=[Fault([self.name], what)])


IDEMPOTENCY_KEY = Header(
    HEADER,
    SHAPE,
    f"1 to {LENGTH} visible ASCII characters",
    "A name of your own for this call. Repeated under it, the call is not carried out again: the "
    "answer has the tickets of the first, as they are now.",
)
LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "[0-9]{1,18}",
    "the id of an event, in up to 18 digits",
    "The id of the last event that was read; the stream goes on behind it. Wins over `since`.",
)
#: The header of an answer that tells of an earlier call.
REPLAYED = {"Idempotent-Replayed": "true"}
