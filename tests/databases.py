"""Databases of the test run: how to reach them, and how fast they may forget."""

from __future__ import annotations

from twisted.internet import reactor

from smsd.store.database import Database
from smsd.store.statements import Statement

#: Speed instead of durability: these databases do not outlive the run.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "100",
}

#: Set in the environment, it lets every test that has a database find its messages in partitions.
PARTITIONED = "TEST_PARTITIONED"


def conninfo_of(conninfo: str, database: str) -> str:
    """The same server, another database."""
    return " ".join(p for p in conninfo.split() if not p.startswith("dbname=")) + (
        f" dbname={database}"
    )


def chance() -> float:
    """Chance that is always in the middle."""
    return 0.5


async def partitioned(template: Database, parts: int = 4) -> None:
    """Spread the messages over tables by their org, as an operator with very many may do."""
    indexes = await template.run(Statement("indexes", _INDEXES))
    steps = [
        "ALTER TABLE messages RENAME TO messages_whole",
        "CREATE TABLE messages (LIKE messages_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        " PARTITION BY HASH (org_id)",
        "DROP TABLE messages_whole",
        "ALTER TABLE messages ADD CONSTRAINT messages_pkey PRIMARY KEY (org_id, id)",
        *(_PART.format(at=at, parts=parts) for at in range(parts)),
        *(definition for (definition,) in indexes),
    ]
    for step in steps:
        await template.run(Statement("partition", step))


_INDEXES = """
SELECT indexdef FROM pg_indexes WHERE tablename = 'messages' AND indexname <> 'messages_pkey'
"""
_PART = """
CREATE TABLE messages_{at} PARTITION OF messages
FOR VALUES WITH (MODULUS {parts}, REMAINDER {at}) WITH (fillfactor = 85)
"""


async def opened(conninfo: str, size: int = 2) -> Database:
    """A pool on the real reactor."""
    database = Database(reactor, conninfo, size=size, chance=chance, deadline=20)
    await database.open()
    return database
