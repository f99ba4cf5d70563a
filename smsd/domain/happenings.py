"""What may happen in an org, by the words that events have for it, and which of it a reader asks
for.

How events are written and read is the store's part, how they are sent the faces'.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

from smsd.domain.lifecycle import STATES
from smsd.domain.query import Asked, Direction
from smsd.domain.records import SimAsked

#: Every type that an event may have.
TYPES: tuple[str, ...] = (
    "message.received",
    *(f"ticket.{status}" for status in STATES),
    "phone.online",
    "sims.changed",
    "phone.offline",
)
#: More than any event has, and few enough digits for every database.
_HIGHEST = 10**18
_ONE = f"({'|'.join(map(re.escape, TYPES))})"

Cursor = Annotated[
    int,
    Meta(
        ge=0,
        le=_HIGHEST,
        description="must be the id of an event, a whole number of 0 or more: only later ones",
    ),
]
Types = Annotated[
    str,
    Meta(
        pattern=f"^{_ONE}(,{_ONE})*(?!\\n)$",  # for $ alone is also before a last line break
        description=f"must be types of events with commas between them, of {', '.join(TYPES)}",
    ),
]

EventType = Annotated[
    str,
    Meta(pattern=f"^{_ONE}(?!\\n)$", description=f"must be one of {', '.join(TYPES)}"),
]


class EventQuery(Struct, frozen=True, kw_only=True):
    """Which events of an org, and after which."""

    since: Cursor | None = None
    types: Types | None = None
    direction: Direction | None = None
    address: Asked | None = None
    sim: SimAsked | None = None

    @property
    def kinds(self) -> tuple[str, ...] | None:
        """The types that are asked for; None: all."""
        return None if self.types is None else tuple(sorted(set(self.types.split(","))))
