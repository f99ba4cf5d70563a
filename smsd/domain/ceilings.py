"""The settings that keep an open gateway from being filled by strangers, as rows of the table.

What each of them means for an org is `smsd.domain.allowance`'s.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from smsd.domain.allowance import is_prefix
from smsd.domain.rows import Told

MaxOrgs = Annotated[
    Annotated[int, Meta(ge=0, le=1_000_000)],
    Told("How many orgs there may be", unit="orgs", zero="no limit", live=True),
]
MaxStored = Annotated[
    Annotated[int, Meta(ge=0, le=100_000_000)],
    Told(
        "How many messages an org may have stored, unless it has a limit of its own",
        unit="messages",
        zero="no limit",
        live=True,
    ),
]
MaxQueued = Annotated[
    Annotated[int, Meta(ge=0, le=1_000_000)],
    Told(
        "How many tickets of an org may wait, unless it has a limit of its own",
        unit="tickets",
        zero="no limit",
        live=True,
    ),
]
MaxSends = Annotated[
    Annotated[int, Meta(ge=0, le=100_000)],
    Told(
        "How many tickets an org may make in a minute, unless it has a limit of its own",
        unit="tickets",
        zero="no limit",
        live=True,
    ),
]
ToPrefixes = Annotated[
    tuple[str, ...],
    Told(
        "What a number must begin with to be sent to, unless its org has a list of its own; "
        "may be given several times",
        "PREFIX",
        "the beginning of a number, as in +49, without spaces and dashes",
        live=True,
        example="+49",
        check=is_prefix,
    ),
]
QueueTtl = Annotated[
    Annotated[int, Meta(ge=0, le=31_536_000)],
    Told(
        "How long a ticket may wait that no phone was given, unless its org has a limit of its own",
        unit="s",
        zero="for ever",
        live=True,
    ),
]
