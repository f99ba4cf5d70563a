"""Databases of the test run: how to reach them, and how fast they may forget."""

from __future__ import annotations

from twisted.internet import reactor

from smsd.store.database import Database

#: Speed instead of durability: these databases do not outlive the run.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "100",
}


def conninfo_of(conninfo: str, database: str) -> str:
    """The same server, another database."""
    return " ".join(p for p in conninfo.split() if not p.startswith("dbname=")) + (
        f" dbname={database}"
    )


def chance() -> float:
    """Chance that is always in the middle."""
    return 0.5


async def opened(conninfo: str, size: int = 2) -> Database:
    """A pool on the real reactor."""
    database = Database(reactor, conninfo, size=size, chance=chance, deadline=20)
    await database.open()
    return database
