"""What can happen to Postgres while the gateway runs on; each ends with Postgres whole again."""

from __future__ import annotations

import asyncio
from random import Random

from faults.field import Field


async def restart_fast(field: Field, chance: Random) -> None:
    """Stopped in order, and started again."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.restart, "fast")


async def restart_immediate(field: Field, chance: Random) -> None:
    """Stopped at once; it recovers from its log."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.restart, "immediate")


async def crash(field: Field, chance: Random) -> None:
    """All its processes killed, and started again."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.crash)
    await asyncio.to_thread(field.postgres.start)


async def kill_backends(field: Field, chance: Random) -> None:
    """Some of the gateway's connections die, or all of them and the server recovers."""
    await _calm(field, chance)
    how = chance.choice(["terminate", "kill"])
    await asyncio.to_thread(field.postgres.kill_backends, chance.randint(1, 6), how)


async def freeze(field: Field, chance: Random) -> None:
    """It neither answers nor goes away."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.freeze)
    await asyncio.sleep(chance.uniform(3, 15))
    await asyncio.to_thread(field.postgres.thaw)


async def take_connections(field: Field, chance: Random) -> None:
    """No connection is to be had, and those that were there are gone."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.use_up_connections)
    await asyncio.sleep(chance.uniform(1, 4))
    await asyncio.to_thread(field.postgres.release_connections)


async def read_only(field: Field, chance: Random) -> None:
    """Nothing can be written."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.read_only, True)
    await asyncio.sleep(chance.uniform(1, 4))
    await asyncio.to_thread(field.postgres.read_only, False)


async def lock(field: Field, chance: Random) -> None:
    """Somebody holds the table."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.hold_lock)
    await asyncio.sleep(chance.uniform(1, 6))
    await asyncio.to_thread(field.postgres.release_locks)


async def fill_disk(field: Field, chance: Random) -> None:
    """No room for tables, or none for the write-ahead log."""
    await _calm(field, chance)
    await asyncio.to_thread(field.postgres.fill_disk, chance.choice(["tables", "wal"]))
    await asyncio.sleep(chance.uniform(1, 4))
    await asyncio.to_thread(field.postgres.free_disk)


async def _calm(field: Field, chance: Random) -> None:
    """Postgres is whole, and the gateway has a moment of ordinary work before."""
    await asyncio.to_thread(field.postgres.start)
    await asyncio.sleep(chance.uniform(0.5, 2))
