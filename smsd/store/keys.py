"""API keys in the database: made, found by their hash, spent from, deleted.

What a key means is `smsd.domain.keys`'; a key's text never comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from smsd.domain.allowance import Own
from smsd.domain.keys import Key, Scope
from smsd.domain.moments import Rfc3339
from smsd.domain.records import jsoned
from smsd.store import limits
from smsd.store.database import Database
from smsd.store.statements import named

#: An org may have so many.
MOST = 1000

_RECALL = named("recall_keys")
_USE = named("use_key")
_MAKE = named("make_key")
_READ = named("read_keys")
_DELETE = named("delete_key")
_ENDED = named("ended_keys")
_SPEND = named("spend_segments")
_GIVE_BACK = named("give_segments_back")
_BUDGET = named("read_budget")


class Asked(NamedTuple):
    """An org, and the hash of the key that was shown for it, in hex."""

    org_id: str
    hash: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """A key that is good, for so many seconds yet (None: for ever). ``used_lately``: its use was
    noted within the hour. ``limits`` are its org's own."""

    key: Key
    good_for: float | None
    used_lately: bool
    limits: Own | None


class NewKey(Struct, frozen=True, kw_only=True):
    """A key to be made. ``expires_in`` is in seconds; None: never."""

    name: str
    scopes: tuple[Scope, ...]
    to_prefixes: tuple[str, ...] = ()
    segments_a_day: int | None = None
    expires_in: int | None = None


class KeySeen(Struct, frozen=True, kw_only=True):
    """A key as its org's people see it; ``segments_today`` where it has a budget."""

    id: str
    name: str
    scopes: list[str]
    to_prefixes: list[str]
    segments_a_day: int | None
    segments_today: int | None
    created_at: Rfc3339
    expires_at: Rfc3339 | None
    last_used_at: Rfc3339 | None


class Made(NamedTuple):
    """When a key was made and when it expires; ``created_at`` is None where none was made, and
    then ``keys`` says how many there are."""

    keys: int
    created_at: datetime | None
    expires_at: datetime | None


async def recall(database: Database, asked: Sequence[Asked]) -> list[Recalled | None]:
    """Each key, or None where it is not good for that org."""
    found: list[Recalled | None] = [None] * len(asked)
    rows = [{"ord": at, "org_id": a.org_id, "hash": a.hash} for at, a in enumerate(asked)]
    for at, key_id, scopes, prefixes, a_day, good_for, lately, own in await database.run(
        _RECALL, rows=jsoned(rows)
    ):
        key = Key(asked[at].org_id, key_id, tuple(scopes), tuple(prefixes), a_day)
        found[at] = Recalled(key, good_for, lately, limits.own(own))
    return found


async def use(database: Database, key: Key) -> None:
    """Note that the key was used, unless that was noted within the hour."""
    await database.run(_USE, org_id=key.org_id, key_id=key.id)


async def make(
    database: Database, org_id: str, new: NewKey, *, key_id: str, hashed: str, present: bytes
) -> Made:
    """Make a key whose hash, in hex, is this one, where ``present`` is the seal of the org's
    present secret and the org has fewer than `MOST`."""
    ((keys, created_at, expires_at),) = await database.run(
        _MAKE,
        org_id=org_id,
        key_id=key_id,
        hash=hashed,
        name=new.name,
        scopes=list(new.scopes),
        to_prefixes=list(new.to_prefixes),
        segments_a_day=new.segments_a_day,
        expires_in=new.expires_in,
        present=present,
        most=MOST,
    )
    return Made(keys, created_at, expires_at)


async def read(database: Database, org_id: str, key_id: str | None = None) -> list[KeySeen]:
    """The org's keys in the order in which they were made, or the one with this id."""
    rows = await database.run(_READ, org_id=org_id, key_id=key_id)
    names = KeySeen.__struct_fields__
    return [KeySeen(**dict(zip(names, row, strict=True))) for row in rows]


async def delete(database: Database, org_id: str, key_id: str) -> bool:
    """Whether there was such a key; now there is none."""
    return bool(await database.run(_DELETE, org_id=org_id, key_id=key_id))


async def ended(database: Database, held: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Which of these, by org and id, are good no more."""
    org_ids, key_ids = [org_id for org_id, _ in held], [key_id for _, key_id in held]
    return [tuple(row) for row in await database.run(_ENDED, org_ids=org_ids, key_ids=key_ids)]


async def spend(database: Database, key: Key, segments: int) -> bool:
    """Take so many from today's budget; whether that many were left."""
    return bool(
        await database.run(
            _SPEND,
            org_id=key.org_id,
            key_id=key.id,
            segments=segments,
            segments_a_day=key.segments_a_day,
        )
    )


async def give_back(database: Database, key: Key, segments: int) -> None:
    """These were not sent after all."""
    await database.run(_GIVE_BACK, org_id=key.org_id, key_id=key.id, segments=segments)


async def budget(database: Database, key: Key) -> tuple[int, int] | None:
    """How many segments are left today, and in how many seconds tomorrow begins; None where the
    key is no more."""
    rows = await database.run(_BUDGET, org_id=key.org_id, key_id=key.id)
    return tuple(rows[0]) if rows else None
