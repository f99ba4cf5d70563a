"""The campaign: rounds of traffic with a nemesis at work, each healed and checked.

What a nemesis does is in `faults.nemeses`; what is found, `faults.table` tells.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from faults.failpoints import FailPoint
from faults.field import Field
from faults.nemeses import kills
from faults.table import OVER_SPOILT_ROADS, UNDER_RESEND, Line, Result, told

#: So long a fresh process is under load before its memory is looked at. Seconds.
WARM_AFTER = 10.0
#: So often one death at a named point is tried. Some need a frame to be lost at the right moment,
#: which a gateway under load is now and then too slow for within its time.
TRIES = 3

Strike = Callable[[Field, Random], Awaitable[object]]


@dataclass(frozen=True)
class Plan:
    """One round: what strikes, in this order, and on which gateway.

    ``hurry``: how many times as often chores come; ``lives``: one process lives through it;
    ``within``: after so many seconds nothing strikes any more, but for the first ``least``.
    """

    name: str
    strikes: Sequence[tuple[str, Strike]]
    resend: bool = False
    confirm_timeout: float = 8.0
    grace: float = 1.0
    hurry: float = 5.0
    lives: bool = False
    over_roads: bool = False
    database_over_road: bool = False
    forbidden: tuple[str, ...] = ()
    within: float = math.inf
    least: int = 0

    @property
    def flags(self) -> list[str]:
        """The gateway's settings: the end of a doubtful ticket comes soon."""
        return [
            f"--resume-grace={self.grace}",
            f"--confirm-timeout={self.confirm_timeout}",
            f"--unconfirmed={'resend' if self.resend else 'fail'}",
        ]

    @property
    def patience(self) -> float:
        """Until when every ticket has come to its end: one that its phone never answers is given
        up once, or waits and is pushed again until `max_attempts` (5) of them had a receipt."""
        return (8 if self.resend else 2) * self.confirm_timeout + 20

    @property
    def allowed(self) -> tuple[str, ...]:
        """What the contract allows on such a gateway, or over such roads."""
        return (UNDER_RESEND if self.resend else ()) + (
            OVER_SPOILT_ROADS if self.over_roads else ()
        )


class Campaign:
    """Rounds on one field; ``say`` gets a few lines after each."""

    def __init__(self, field: Field, result: Result, seed: str, say: Callable[[str], None]) -> None:
        self._field = field
        self._result = result
        self._seed = seed
        self._say = say
        self._bugs = 0
        #: Every text that was ever acknowledged.
        self._safe: set[str] = set()

    async def run(self, plans: Sequence[Plan]) -> None:
        """All rounds, from an open field to a closed one, or as far as they can be played."""
        field = self._field
        try:
            await field.open(plans[0].flags, plans[0].hurry)
            for plan in plans:
                await self._round(plan)
            await self._look_back()
        except Exception as broken:
            self._result.notes.append(f"broken off: {str(broken)[:2000] or broken!r}")
            self._say(traceback.format_exc())
        finally:
            await field.close()

    async def _look_back(self) -> None:
        """What was safe in an early round still is."""
        if missing := await asyncio.to_thread(self._field.checker.missing, self._safe):
            self._result.notes.append(f"{len(missing)} texts were lost in later rounds")

    async def _round(self, plan: Plan) -> None:
        field, began = self._field, time.monotonic()
        floors = await field.floors()
        field.journal.begin()
        line = Line(plan.name, Counter(), plan.allowed, plan.forbidden)
        await self._prepare(plan)
        await self._strike(plan, line)
        await field.heal()
        await field.stop_traffic()
        await field.quiet(within=plan.patience)
        if plan.lives:
            line.memory = (line.memory or (0, 0))[0], field.gateway.memory()
        await self._judge(line, floors)
        line.seconds = time.monotonic() - began
        self._result.lines.append(line)
        self._say(told(line))

    async def _prepare(self, plan: Plan) -> None:
        field = self._field
        field.over_roads(plan.over_roads)
        field.database_over_road(plan.database_over_road)
        field.start_traffic()
        await field.gateway.become(plan.flags, plan.hurry, anew=plan.lives)

    async def _strike(self, plan: Plan, line: Line) -> None:
        chance = Random(f"{self._seed}/{plan.name}")
        if plan.lives:
            await asyncio.sleep(WARM_AFTER)
            line.memory = self._field.gateway.memory(), 0
        end = time.monotonic() + plan.within
        for at, (name, strike) in enumerate(plan.strikes):
            if time.monotonic() > end and at >= plan.least:
                return
            line.strikes[name] += 1
            await strike(self._field, chance)

    async def _judge(self, line: Line, floors: str) -> None:
        found = await self._field.check(floors)
        line.counts, line.examples = found.counts, found.examples
        bugs = self._field.gateway.bugs()
        line.counts["tracebacks"] = len(bugs) - self._bugs
        line.examples["tracebacks"] = [bug[:1500] for bug in bugs[self._bugs :][:5]]
        self._bugs = len(bugs)
        seen = self._field.journal.now
        self._safe.update(words for words, text in seen.texts.items() if text.acknowledged)
        line.restarts, line.stops, line.slowest = seen.restarts, seen.stops, seen.slowest


def deaths(points: Sequence[FailPoint], times: int, result: Result) -> list[tuple[str, Strike]]:
    """Strikes at these points, each so often; the result counts those that were reached."""

    def at(point: FailPoint) -> Strike:
        async def strike(field: Field, chance: Random) -> None:
            for _ in range(TRIES):
                if await kills.die_at(point, field, chance):
                    result.deaths[point.name] += 1
                    return

        return strike

    for point in points:
        result.wanted[point.name] = times
    return [(f"kill {point.name}", at(point)) for point in points for _ in range(times)]
