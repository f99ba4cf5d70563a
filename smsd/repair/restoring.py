"""``smsd restore``: an empty database becomes what it was when the backup was made.

What the world has done since is not in it: ids were given out, tickets were sent. So every org's
ids go on a million later, and tickets that had not ended end, unless the operator keeps them.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from smsd.opening import alone
from smsd.repair.declared import Option, command
from smsd.repair.endings import Ended, Misused, NotAllowed, NotThere
from smsd.repair.ground import Ground
from smsd.store import dumps, overview
from smsd.store.clients import newest
from smsd.store.database import Database
from smsd.store.migrate import WrongSchema, check, migrate, migrations
from smsd.store.statements import named
from smsd.store.unusable import InUse, PostgresUnusable

PENDING = Option(
    "pending",
    "What becomes of tickets that had not ended: fail them, for they may have been sent since, "
    "or keep them, and send some of them twice. [default: fail]",
    "fail",
)

_USE = named("use_everywhere")


@command("restore", "FILE", options=[PENDING], bare=True)
async def restore(ground: Ground, name: str) -> None:
    """Fill an empty database from a backup; every org's ids go on a million later."""
    pending = ground.asked["pending"]
    if pending not in ("fail", "keep"):
        raise Misused(f"--pending {pending!r}: fail or keep.")
    with _opened(name) as file:
        version = await _version(ground, name, file.fileno())
        database = await _alone(ground)
        made = await _empty(database)
        ground.terminal.confirm(_question(name, pending))
        await _loaded(ground, database, file.fileno(), made=made, fail_pending=pending == "fail")
    await migrate(database)
    orgs = len([org_id async for org_id in overview.every_org_id(database)])
    ground.terminal.done(
        f"Restored from {name}: {'1 org' if orgs == 1 else f'{orgs:,} orgs'}.",
        file=name,
        orgs=orgs,
        version=version,
        pending=pending,
    )


def _opened(name: str) -> BinaryIO:
    try:
        return open(name, "rb")
    except FileNotFoundError:
        raise NotThere(f"There is no file {name}.") from None
    except OSError as error:
        raise Ended(f"{name} cannot be read: {error.strerror}.") from None


async def _version(ground: Ground, name: str, file: int) -> int:
    """Up to which migration the backup's database was brought; raises `NotAllowed` where it is
    none, or is newer than this smsd."""
    clients = newest(ground.settings.postgres_bin)
    try:
        applied = await dumps.versions(ground.reactor, clients, file)
        check(applied, migrations())
    except WrongSchema as error:
        raise NotAllowed(f"{name} cannot be restored: {error}.") from None
    except RuntimeError as error:
        raise Ended(f"{name} is no backup that can be read: {error}") from None
    if not applied:
        raise NotAllowed(f"{name} is a backup of something else, not of a gateway's database.")
    return max(applied)


async def _alone(ground: Ground) -> Database:
    try:
        return await alone(ground.settings, ground.reactor, ground.stack)
    except InUse:
        raise NotAllowed("A gateway runs on this data directory: stop it first.") from None


async def _empty(database: Database) -> bool:
    """Whether the tables are there, all empty; raises `NotAllowed` where they are not."""
    if not await overview.schema(database):
        return False
    ((alive, used),) = await database.run(_USE)
    if alive:
        raise NotAllowed("A gateway runs on this database: stop it first, and wait 15 seconds.")
    if used:
        raise NotAllowed(
            "This database is in use: it has, or had, orgs or messages, and nothing of it is"
            " overwritten. Restore into a new one: say another --data-dir, or another --database."
        )
    return True


def _question(name: str, pending: str) -> str:
    said = {
        "fail": "Tickets that had not ended fail, for they may have been sent since.",
        "keep": "Tickets that had not ended are sent, some of them for the second time.",
    }
    return f"Restore {name}? {said[pending]}"


async def _loaded(
    ground: Ground, database: Database, file: int, *, made: bool, fail_pending: bool
) -> None:
    server = await ground.server(database)
    try:
        with ground.telling("bytes read", lambda: os.lseek(file, 0, os.SEEK_CUR)):
            await dumps.restore(server, file, made=made, fail_pending=fail_pending)
    except PostgresUnusable as error:
        raise Ended(f"Nothing was restored, the database is as it was: {error}") from None
