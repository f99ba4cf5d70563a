"""Spoilt roads: between the phones and the gateway, or between it and its database.

What can be wrong with a road is in `faults.network`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from faults.field import Field
from faults.network import TROUBLES, Spoilt


def to_phones(name: str) -> Callable[[Field, Random], Awaitable[None]]:
    """This trouble on some of the phones' roads for a while."""

    async def strike(field: Field, chance: Random) -> None:
        await _spoil(Spoilt(name, field.roads, TROUBLES[name]), chance, longest=8)

    return strike


def to_database(name: str) -> Callable[[Field, Random], Awaitable[None]]:
    """This trouble on the gateway's road to its database for a while."""

    async def strike(field: Field, chance: Random) -> None:
        assert field.database_road is not None
        await _spoil(Spoilt(name, [field.database_road], TROUBLES[name]), chance, longest=6)

    return strike


async def _spoil(trouble: Spoilt, chance: Random, longest: float) -> None:
    await asyncio.sleep(chance.uniform(0.3, 1))
    await asyncio.to_thread(trouble.begin, chance)
    await asyncio.sleep(chance.uniform(1, longest))
    await asyncio.to_thread(trouble.heal)
