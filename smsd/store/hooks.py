"""Hooks in the database, as their org's people manage them: made, seen, changed, deleted, and what
came of their posts.

Which events are due to be posted, and what is written down of a post, is not here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from smsd.domain.moments import Rfc3339
from smsd.domain.numbers import address_key, digits
from smsd.domain.records import Wish
from smsd.store.database import Database, Transaction
from smsd.store.statements import named

#: An org may have so many.
MOST = 20

_HOLD = named("hold_counter")
_MAKE = named("make_hook")
_READ = named("read_hooks")
_CHANGE = named("change_hook")
_ROTATE = named("rotate_hook")
_DELETE = named("delete_hook")
_SIGNING = named("read_signing")
_REPLAY = named("replay_hook")
_DELIVERIES = named("read_deliveries")


class NewHook(Struct, frozen=True, kw_only=True):
    """A hook to be made. No ``types``: all; a filter that is None: whatever it is."""

    url: str
    types: tuple[str, ...] = ()
    direction: str | None = None
    address: str | None = None
    sim: str | int | None = None
    enabled: bool = True


class HookChange(Struct, frozen=True, kw_only=True):
    """What is to be another way. None for ``url``, ``types`` and ``enabled``, and UNSET for the
    filters: as it is."""

    url: str | None = None
    types: tuple[str, ...] | None = None
    direction: str | UnsetType | None = UNSET
    address: str | UnsetType | None = UNSET
    sim: str | int | UnsetType | None = UNSET
    enabled: bool | None = None


class HookSeen(Struct, frozen=True, kw_only=True):
    """A hook as its org's people see it.

    ``tries`` at the event behind the ``cursor``; ``next_attempt_at`` is None where it need not
    wait; ``behind`` is how many events it has yet to look at.
    """

    id: str
    url: str
    types: list[str]
    direction: str | None
    address: str | None
    sim: str | None
    enabled: bool
    disabled_why: str | None
    disabled_at: Rfc3339 | None
    failing_since: Rfc3339 | None
    tries: int
    next_attempt_at: Rfc3339 | None
    cursor: int
    behind: int
    old_secret_until: Rfc3339 | None
    created_at: Rfc3339


class Delivery(Struct, frozen=True):
    """What came of one post: the answer's ``status``, or an ``error`` that says why there was none;
    ``attempt`` is which it was at this event, ``answer`` the first KiB."""

    id: int
    event_id: int
    attempt: int
    at: Rfc3339
    status: int | None
    error: str | None
    ms: int
    answer: str


class Signing(NamedTuple):
    """Where to post, and the secrets that sign, the newest first."""

    url: str
    secrets: list[str]


class Kept(NamedTuple):
    """The first and the last cursor that are good."""

    first: int
    last: int


async def make(database: Database, org_id: str, new: NewHook, *, hook_id: str, secret: str) -> bool:
    """Whether there is room for it; it begins with the next event. The org listens already."""

    async def whole(tx: Transaction) -> bool:
        await tx.run(_HOLD, org_id=org_id)  # so that of two at once one sees the other
        ((_, made),) = await tx.run(
            _MAKE,
            org_id=org_id,
            hook_id=hook_id,
            url=new.url,
            types=list(new.types),
            direction=new.direction,
            **_address(new.address),
            **_sim(new.sim),
            secret=secret,
            enabled=new.enabled,
            most=MOST,
        )
        return made is not None

    return await database.transaction("make hook", whole)


async def read(database: Database, org_id: str, hook_id: str | None = None) -> list[HookSeen]:
    """The org's hooks in the order in which they were made, or the one with this id."""
    rows = await database.run(_READ, org_id=org_id, hook_id=hook_id)
    names = HookSeen.__struct_fields__
    return [HookSeen(**dict(zip(names, row, strict=True))) for row in rows]


async def change(database: Database, org_id: str, hook_id: str, to: HookChange) -> bool:
    """Whether there is such a hook; now it is as ``to`` says."""
    rows = await database.run(
        _CHANGE,
        org_id=org_id,
        hook_id=hook_id,
        url=to.url,
        types=None if to.types is None else list(to.types),
        sets_direction=to.direction is not UNSET,
        direction=to.direction or None,
        sets_address=to.address is not UNSET,
        **_address(to.address or None),
        sets_sim=to.sim is not UNSET,
        **_sim(None if to.sim is UNSET else to.sim),
        enabled=to.enabled,
        anew=to.enabled is True or to.url is not None,
    )
    return bool(rows)


async def rotate(
    database: Database, org_id: str, hook_id: str, *, secret: str, overlap: int
) -> bool:
    """Whether there is such a hook; now ``secret`` signs, and the one before beside it for
    ``overlap`` seconds."""
    return bool(
        await database.run(_ROTATE, org_id=org_id, hook_id=hook_id, secret=secret, overlap=overlap)
    )


async def delete(database: Database, org_id: str, hook_id: str) -> bool:
    """Whether there was such a hook; now there is none."""
    return bool(await database.run(_DELETE, org_id=org_id, hook_id=hook_id))


async def signing(database: Database, org_id: str, hook_id: str) -> Signing | None:
    """What a post needs; None: there is no such hook."""
    for url, secret, old in await database.run(_SIGNING, org_id=org_id, hook_id=hook_id):
        return Signing(url, [secret] if old is None else [secret, old])
    return None


async def replay(database: Database, org_id: str, hook_id: str, since: int) -> Kept | None:
    """Go on behind event ``since``: done if it is within what is kept. None: there is no such
    hook."""
    rows = await database.run(_REPLAY, org_id=org_id, hook_id=hook_id, since=since)
    return Kept(*rows[0]) if rows else None


async def deliveries(
    database: Database, org_id: str, hook_id: str, *, before_id: int | None, limit: int
) -> list[Delivery] | None:
    """A page of attempts, the newest first; None: there is no such hook."""
    rows = await database.run(
        _DELIVERIES, org_id=org_id, hook_id=hook_id, before_id=before_id, limit=limit
    )
    return [Delivery(*row) for row in rows if row[0] is not None] if rows else None


def _address(address: str | None) -> dict[str, Any]:
    key = None if address is None else address_key(address)
    return {"address": address, "address_key": key}


def _sim(sim: str | int | None) -> dict[str, Any]:
    wish = Wish.of(sim)
    number = digits(wish.number) if wish.number else None
    return {"sim_asked": wish.text, "sim_slot": wish.slot, "sim_digits": number}
