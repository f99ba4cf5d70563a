"""What ``GET /messages`` may be asked for (contract section 2).

Reading it from a URL is the REST face's part, turning it into SQL the store's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from smsd.domain.records import ADDRESS_LENGTH, INT64, SimAsked

Later = Annotated[
    int,
    Meta(ge=0, le=INT64[-1], description="must be a message id of 0 or more: only later ones"),
]
Earlier = Annotated[
    int,
    Meta(ge=1, le=INT64[-1], description="must be a message id of 1 or more: only earlier ones"),
]
Order = Annotated[
    Literal["asc", "desc"],
    Meta(description="must be asc (oldest first) or desc (newest first)"),
]
Direction = Annotated[
    Literal["in", "out"], Meta(description="must be in (received) or out (to be sent)")
]
Asked = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=ADDRESS_LENGTH,
        pattern=r"^[^\x00]*$",
        description="must be a number or a sender's name of 1 to 256 characters",
    ),
]
Status = Annotated[
    Literal["received", "queued", "sending", "sent", "failed", "cancelled", "expired", "delivered"],
    Meta(
        description=(
            "must be one of received, queued, sending, sent, failed, cancelled, expired, delivered"
        )
    ),
]
Wait = Annotated[
    float,
    Meta(ge=0, le=60, description="must be a number of seconds from 0 to 60"),
]


class MessageQuery(Struct, frozen=True, kw_only=True):
    """Which messages of an org, in which order, and at most how many; and for how long to wait for
    the first of them."""

    limit: Annotated[
        int, Meta(ge=1, le=1000, description="must be a number of messages from 1 to 1000")
    ] = 100
    since_id: Later = 0
    before_id: Earlier | None = None
    order: Order = "asc"
    direction: Direction | None = None
    sim: SimAsked | None = None
    address: Asked | None = None
    status: Status | None = None
    wait: Wait = 0

    @property
    def finds_what_changed(self) -> bool:
        """Whether a message may come to be among these long after it was stored."""
        return self.direction != "in" and (self.status is not None or self.sim is not None)
