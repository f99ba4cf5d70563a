"""Whether what the database has committed survives a loss of power.

An acknowledgement of ours promises that. Postgres keeps the promise by default, so whoever turned
that off is told loudly at each start; refused is nothing, for it is the operator's database.
"""

from __future__ import annotations

from twisted.logger import Logger

from smsd.store.database import Database
from smsd.store.statements import named

_SETTINGS = named("durability")

_log = Logger()

_RISKS = {
    "fsync": "what was acknowledged can be lost, and all data ruined,",
    "full_page_writes": "data can be ruined",
    "synchronous_commit": "what was acknowledged in the last second can be lost",
}


async def risks(database: Database) -> list[str]:
    """A sentence for each setting that makes a commit less than safe."""
    (values,) = await database.run(_SETTINGS)
    off = [name for name, value in zip(_RISKS, values, strict=True) if value == "off"]
    return [
        f"{name} is off in this database: {_RISKS[name]} when the machine fails or loses power."
        f" Set {name} = on in its postgresql.conf."
        for name in off
    ]


async def warn_of_risks(database: Database) -> None:
    """Write them in the log."""
    for risk in await risks(database):
        _log.warn("{risk}", risk=risk)
