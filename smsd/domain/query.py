"""What ``GET /messages`` may be asked for (contract section 2)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from smsd.domain.records import SimAsked


class MessageQuery(Struct, frozen=True, kw_only=True):
    """Which messages of an org, in which order, and at most how many."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="must be an integer from 1 to 1000")] = (
        100
    )
    since_id: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="must be an integer of 0 or more")
    ] = 0
    before_id: (
        Annotated[int, Meta(ge=1, le=2**63 - 1, description="must be an integer of 1 or more")]
        | None
    ) = None
    order: Literal["asc", "desc"] = "asc"
    direction: Literal["in", "out"] | None = None
    sim: SimAsked | None = None
    address: Annotated[str, Meta(max_length=256)] | None = None
    status: Literal["received", "queued", "sending", "sent", "failed"] | None = None
