"""The gateway's database: found in the data directory or on a server of the operator's, and opened.

For the gateway itself, and for commands that need it while a gateway runs or none does. What
lives above the open database is `smsd.graph`'s.
"""

from __future__ import annotations

import os
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from smsd.domain.errors import Unavailable
from smsd.domain.settings import Settings
from smsd.store import overview
from smsd.store.database import Database
from smsd.store.durability import risks
from smsd.store.embedded import PostgresUnusable, PrivatePostgres, conninfo_of
from smsd.store.home import made_home, occupied, settle
from smsd.store.migrate import migrations, told
from smsd.store.statements import named
from smsd.store.unusable import InUse

_VERSION = named("version")


async def check_database(settings: Settings, reactor: Any) -> str:
    """Whether the database answers, in a sentence; raises `RuntimeError` where it does not."""
    async with AsyncExitStack() as stack:
        try:
            try:
                database, _ = await lent(settings, reactor, stack)
            except NoDatabaseYet as none:
                return str(none)
            ((version,),) = await database.run(_VERSION)
            answers = f"The database answers: PostgreSQL {version}."
            standing = told(await overview.schema(database), migrations())
            return " ".join([answers, *standing, *await risks(database)])
        except (Unavailable, PostgresUnusable) as error:
            raise RuntimeError(str(error)) from None


async def lent(settings: Settings, reactor: Any, stack: AsyncExitStack) -> tuple[Database, Path]:
    """The gateway's database, open for as long as the stack is, and the data directory.

    A private Postgres is asked where a gateway runs it, and started where none does.
    """
    home = _home_to_check(settings)
    if settings.database is None and not occupied(home):
        raise NoDatabaseYet(_none_in(home))
    try:
        return await opened(settings, reactor, home, stack), home
    except InUse:
        return await _open(settings, reactor, conninfo_of(home), stack), home


async def alone(settings: Settings, reactor: Any, stack: AsyncExitStack) -> Database:
    """The database that a gateway would use, made where there is none. Raises `InUse` where one
    runs a private Postgres; on a server of the operator's there may be one still."""
    return await opened(settings, reactor, home_of(settings)[0], stack)


def private_home(settings: Settings) -> Path:
    """The data directory of a private Postgres that has been started before."""
    home = _home_to_check(settings)
    if not occupied(home):
        raise NoDatabaseYet(_none_in(home))
    return home


class NoDatabaseYet(RuntimeError):
    """No gateway was ever started here."""


def home_of(settings: Settings) -> tuple[Path, str | None]:
    """The data directory, and what a newcomer must know of it."""
    if settings.database is not None:
        return made_home(settings.data_dir.resolve(), os.geteuid()), None
    home = settle(settings.data_dir, uid=os.geteuid())
    return home.path, home.notice


async def opened(settings: Settings, reactor: Any, home: Path, stack: AsyncExitStack) -> Database:
    """The database, open; a private Postgres below it where no other one is named."""
    conninfo = settings.database
    if conninfo is None:
        postgres = PrivatePostgres(reactor, home, binaries=settings.postgres_bin)
        stack.push_async_callback(postgres.stop)
        conninfo = await postgres.start()
    return await _open(settings, reactor, conninfo, stack)


def _none_in(home: Path) -> str:
    return f"No database yet: the first start makes a private one in {home}."


def _home_to_check(settings: Settings) -> Path:
    """The data directory, also one whose server could not be started by us: in a unit of
    systemd's it may be running all the same."""
    try:
        return home_of(settings)[0]
    except PostgresUnusable:
        home = settings.data_dir.resolve()
        if occupied(home):
            return home
        raise


async def _open(settings: Settings, reactor: Any, conninfo: str, stack: AsyncExitStack) -> Database:
    database = Database(reactor, conninfo, size=settings.pool_size, chance=random.random)
    stack.push_async_callback(database.close)
    await database.open()
    return database
