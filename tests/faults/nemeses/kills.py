"""The gateway's own death: at random, in order, and at named points."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from faults.failpoints import FailPoint
from faults.field import Field

#: A fail-point that is not reached within so many seconds counts as missed.
REACHED_WITHIN = 8.0


async def kill(field: Field, chance: Random) -> None:
    """``kill -9`` at any moment, now and then before the phones are back."""
    if chance.random() < 0.8:
        await field.gathered()
    await asyncio.sleep(chance.uniform(0.02, 0.8))
    field.gateway.kill()
    await field.gateway.serving()


async def stop(field: Field, chance: Random) -> None:
    """SIGTERM under load, and a start."""
    await field.gathered()
    await asyncio.sleep(chance.uniform(0.1, 1.0))
    await field.gateway.terminate()
    await field.gateway.serving()


async def die_at(point: FailPoint, field: Field, chance: Random) -> bool:
    """``kill -9`` at a named point; whether it was reached."""
    common = not point.needs and "unconfirmed" not in point.what
    await field.gathered()
    await asyncio.sleep(chance.uniform(0.02, 0.2))
    field.gateway.order_death(point.name, chance.randint(1, 10) if common else 1)
    provoking = asyncio.create_task(_provoke(point.needs, field, chance))
    reached = await field.gateway.died(REACHED_WITHIN)
    provoking.cancel()
    await asyncio.wait([provoking])
    if not reached:
        field.gateway.kill()
    await field.gateway.serving()
    return reached


async def _provoke(need: str, field: Field, chance: Random) -> None:
    """Do what leads there where the ordinary traffic does not."""
    with suppress(TimeoutError):
        if need == "stop":
            await field.gateway.terminate()
        while need in _PROVOKING:
            await _PROVOKING[need](field, chance)


async def _flap(field: Field, chance: Random) -> None:
    """Some phones lose their connections with frames unread, come back, and lose them again."""
    victims = await field.drop_some(4, deaf=chance.uniform(0.05, 0.15))
    await asyncio.sleep(chance.uniform(0.15, 0.35))
    await asyncio.gather(*(phone.drop() for phone in victims))
    await asyncio.sleep(0.1)


async def _claim(field: Field, chance: Random) -> None:
    await field.agents.claim_another()


async def _sever(field: Field, chance: Random) -> None:
    """Answers of the database are lost on their way."""
    await asyncio.to_thread(field.postgres.kill_backends)
    await asyncio.sleep(chance.uniform(0.2, 0.5))


async def _regret(field: Field, chance: Random) -> None:
    await field.agents.regret()


_PROVOKING = {"flap": _flap, "claim": _claim, "regret": _regret, "sever": _sever}
