"""Hooks as a node posts for them: taken under a lease, moved on by what came of each post, let go.

How people make and change them is `smsd.store.hooks`'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from smsd.store.database import Database
from smsd.store.events import Wanted
from smsd.store.statements import Statement, named

#: A lease without a word from its node ends after so many seconds.
LEASE = 60.0
#: Orgs on one page.
ORGS = 200
#: Attempts that one statement deletes at most.
BATCH = 1000

_DUE = named("due_hooks_everywhere")
_LEASE = named("lease_hooks")
_NOTE = named("note_post")
_LET_GO = named("let_hook_go")
_ORGS = named("orgs_with_hooks_everywhere")
_OLD = named("orgs_with_deliveries_everywhere")
_PRUNE = named("prune_deliveries")

#: The org and the id.
HookKey = tuple[str, str]
#: What came of a hook's posts: one was taken, none yet, or the last one was not taken.
Standing = Literal["proven", "fresh", "failing"]


class Leased(Struct, frozen=True, kw_only=True):
    """A hook that is this node's for a while: ``tries`` at the first wanted event behind the
    ``cursor``; for ``failing_for`` seconds nothing was taken."""

    key: HookKey
    url: str
    wanted: Wanted
    secrets: list[str]
    cursor: int
    tries: int
    failing_for: float

    def __repr__(self) -> str:
        return f"<Leased {self.key}>"


class Outcome(NamedTuple):
    """What came of one post, and what follows: ``done`` with this event or not, no post for
    ``pause`` seconds, none ever where there is a ``why``."""

    event_id: int
    attempt: int
    taken: bool
    done: bool
    pause: float
    why: str | None
    status: int | None
    error: str | None
    ms: int
    answer: str


async def due(
    database: Database,
    node_id: str,
    busy: Iterable[HookKey],
    most: int,
    org_ids: Sequence[str] | None = None,
) -> list[tuple[HookKey, Standing]]:
    """Hooks that have something to look at, of these orgs (None: of all), in the order in which
    they became due; so many of each standing at most. ``busy`` are the node's own."""
    rows = await database.run(
        _DUE,
        node_id=node_id,
        busy=["/".join(key) for key in busy],
        org_ids=None if org_ids is None else list(org_ids),
        most=most,
    )
    return [((org_id, hook_id), standing) for org_id, hook_id, standing in rows]


async def lease(database: Database, node_id: str, keys: Sequence[HookKey]) -> list[Leased]:
    """Those of these hooks that are this node's now."""
    rows = await database.run(
        _LEASE,
        node_id=node_id,
        org_ids=[org_id for org_id, _ in keys],
        hook_ids=[hook_id for _, hook_id in keys],
        lease=LEASE,
    )
    return [
        Leased(
            key=(org_id, hook_id),
            url=url,
            wanted=Wanted(tuple(types) or None, direction, address_key, sim),
            secrets=[secret] if old is None else [secret, old],
            cursor=cursor,
            tries=tries,
            failing_for=failing_for,
        )
        for (
            org_id,
            hook_id,
            url,
            types,
            direction,
            address_key,
            sim,
            secret,
            old,
            cursor,
            tries,
            failing_for,
        ) in rows
    ]


async def note(database: Database, node_id: str, key: HookKey, came: Outcome) -> bool:
    """Write it down; whether the hook was still this node's, and moved."""
    org_id, hook_id = key
    return bool(
        await database.run(
            _NOTE,
            node_id=node_id,
            org_id=org_id,
            hook_id=hook_id,
            lease=LEASE,
            **came._asdict(),
        )
    )


async def let_go(
    database: Database, node_id: str, key: HookKey, upto: int, pause: float = 0.0
) -> None:
    """Nothing up to this event is to be posted any more; nobody looks for ``pause`` seconds."""
    org_id, hook_id = key
    await database.run(
        _LET_GO, node_id=node_id, org_id=org_id, hook_id=hook_id, upto=upto, pause=pause
    )


async def orgs_everywhere(database: Database) -> AsyncIterator[list[str]]:
    """The orgs with a hook that is enabled, page by page."""
    async for page in _pages(database, _ORGS):
        yield page


async def prune_everywhere(database: Database) -> None:
    """Delete what came of posts of events that are no more."""
    async for page in _pages(database, _OLD):
        for org_id in page:
            while await _pruned(database, org_id) == BATCH:
                pass


async def _pruned(database: Database, org_id: str) -> int:
    ((deleted,),) = await database.run(_PRUNE, org_id=org_id, most=BATCH)
    return int(deleted)


async def _pages(database: Database, listing: Statement) -> AsyncIterator[list[str]]:
    after = ""
    while page := [org for (org,) in await database.run(listing, after=after, most=ORGS)]:
        yield page
        after = page[-1]
