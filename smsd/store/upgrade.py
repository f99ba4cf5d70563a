"""A private Postgres of an older major version becomes one of a newer version.

Both servers run at once, the new one on a cluster of its own beside the old, and everything goes
from one to the other. Only when it is all there do the two change places, in one step; the old
cluster is kept, and until then it is as it was. Ids go on where they were: nothing was lost.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsd.store import dumps
from smsd.store.account import keeper
from smsd.store.binaries import Binaries, find, others
from smsd.store.clients import Clients, access, fitting
from smsd.store.cluster import WORK, major_of, misfit
from smsd.store.directories import to_disk
from smsd.store.dumps import Server
from smsd.store.embedded import PrivatePostgres
from smsd.store.home import CLUSTER, made_home
from smsd.store.lock import DirectoryLock
from smsd.store.residents import Residents
from smsd.store.unusable import PostgresUnusable

#: renameat2(2): the two change places.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What is to be done in a data directory. ``old`` are programs that run its data as it is."""

    home: Path
    old: Path
    major: int
    new: Binaries

    @property
    def aside(self) -> Path:
        """Where the old cluster is kept."""
        return self.home / f"{CLUSTER}-{self.major}"


def planned(home: Path, configured: Path | None) -> Upgrade | None:
    """How this data comes to the version of the programs that are found here, or as configured;
    None where it is of that version. Raises `PostgresUnusable` where there is no way."""
    home = home.resolve()
    data, new = home / CLUSTER, find(configured)
    major = major_of(data)
    if major == new.major:
        return None
    if major > new.major:
        raise PostgresUnusable(misfit(data, major, new))
    if not (old := others(major)):
        raise PostgresUnusable(
            f"The data in {data} is of PostgreSQL {major}, whose programs are needed once more to"
            f" read it: install PostgreSQL {major} (postgresql-{major} of your system, or of"
            " https://apt.postgresql.org), and say this again."
        )
    upgrade = Upgrade(home, old[0], major, new)
    if os.path.lexists(upgrade.aside):
        raise PostgresUnusable(f"{upgrade.aside} is in the way: move it elsewhere, or delete it.")
    return upgrade


async def carry_out(reactor: Any, upgrade: Upgrade) -> None:
    """Do it; where it fails the old cluster is where it was. Raises `InUse` where a gateway
    runs, and `PostgresUnusable`."""
    lock = DirectoryLock(upgrade.home)
    lock.take()
    work = upgrade.home / WORK
    try:
        await _cleared(reactor, work)
        await _copied(reactor, upgrade, work)
        _put_in_place(upgrade, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()


async def _cleared(reactor: Any, work: Path) -> None:
    """Of an earlier attempt that was killed, servers and all."""
    if (work / CLUSTER).is_dir():
        await Residents(work / CLUSTER).leave(reactor)
    shutil.rmtree(work, ignore_errors=True)
    made_home(work, os.geteuid())


async def _copied(reactor: Any, upgrade: Upgrade, work: Path) -> None:
    owner = keeper(upgrade.home / CLUSTER)
    # A server's own pg_dump knows what is in its catalogue: that of an older release of a newer
    # version took the pg_attver of 15.20 for an option of its columns.
    reading = fitting(upgrade.major, upgrade.old)
    writing = fitting(upgrade.new.major, upgrade.new.directory)
    old = PrivatePostgres(reactor, upgrade.home, binaries=upgrade.old, locked=True)
    new = PrivatePostgres(reactor, work, binaries=upgrade.new.directory, account=owner)
    try:
        source = _server(reactor, reading, await old.start())
        target = _server(reactor, writing, await new.start())
        await dumps.copy(source, target)
    finally:
        await new.stop()
        await old.stop()


def _server(reactor: Any, clients: Clients, conninfo: str) -> Server:
    return Server(reactor, clients, access(conninfo))


def _put_in_place(upgrade: Upgrade, work: Path) -> None:
    """A crash in here leaves one of the two clusters in its place, and the other beside it."""
    data, new = upgrade.home / CLUSTER, work / CLUSTER
    if _exchanged(new, data):
        new.rename(upgrade.aside)
    else:
        data.rename(upgrade.aside)
        new.rename(data)
    to_disk(upgrade.home)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the file system could do that in one step."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    names = os.fsencode(one), os.fsencode(other)
    return bool(
        renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0
    )
