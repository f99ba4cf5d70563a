"""The same phone twice: clones that take each other's place, and phones that come and go."""

from __future__ import annotations

import asyncio
from random import Random

from faults.field import Field


async def clone(field: Field, chance: Random) -> None:
    """Some phones connect a second time while they are on line."""
    phones = chance.sample(field.phones, 5)
    twins = [asyncio.create_task(phone.visit()) for phone in phones]
    await asyncio.sleep(chance.uniform(0.5, 2))
    for twin in twins:
        twin.cancel()
    await asyncio.wait(twins)


async def flap(field: Field, chance: Random) -> None:
    """Phones are cut off with frames unread, and come back."""
    for _ in range(4):
        await field.drop_some(chance.randint(1, 8), deaf=chance.uniform(0, 0.2))
        await asyncio.sleep(chance.uniform(0.05, 0.4))
