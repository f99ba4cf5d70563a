"""Which rounds the campaign has: the long run, a part of it, or the cut of every test run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from faults.campaign import Plan, Strike, deaths
from faults.failpoints import FailPoint, all_points
from faults.nemeses import clones, database, kills, roads
from faults.network import TROUBLES
from faults.table import WHERE_NOBODY_DIES, Result

#: What `--only` takes.
PARTS = ("kills", "stops", "failpoints", "database", "disk", "network", "clones")
#: Kills, and fail-points, of one round.
KILLS, POINTS = 50, 8

#: How often each befalls Postgres in the long run.
DATABASE: dict[str, tuple[Strike, int]] = {
    "Postgres restarted": (database.restart_fast, 8),
    "Postgres stopped at once": (database.restart_immediate, 8),
    "Postgres crashed": (database.crash, 4),
    "backends killed": (database.kill_backends, 8),
    "Postgres frozen": (database.freeze, 5),
    "no connections": (database.take_connections, 4),
    "read-only": (database.read_only, 4),
    "table locked": (database.lock, 4),
}
FULL = 6
TROUBLE_TIMES, DATABASE_ROAD_TIMES = 3, 2


@dataclass(frozen=True)
class Wanted:
    """How much of everything."""

    seed: str
    only: Sequence[str] = PARTS
    kills: int = 200
    times: int = 20


def on_disk(wanted: Wanted, result: Result) -> list[Plan]:
    """The rounds on a durable Postgres."""
    made = {
        "kills": lambda: _kills(wanted),
        "stops": lambda: [_stops()],
        "failpoints": lambda: _failpoints(wanted, result),
        "database": lambda: [_database(wanted)],
        "network": lambda: _network(wanted),
        "clones": lambda: [_clones()],
    }
    return [plan for part in PARTS if part in wanted.only and part in made for plan in made[part]()]


def on_small_disk(wanted: Wanted) -> list[Plan]:
    """The rounds on a Postgres whose disks can be filled."""
    if "disk" not in wanted.only:
        return []
    strikes = [("disk full", database.fill_disk)] * FULL
    return [Plan("full disks", strikes, confirm_timeout=20, hurry=1, lives=True)]


def cut(seed: str, result: Result, *, within: float) -> list[Plan]:
    """A little of everything from which a gateway is back soon, for about so many seconds."""
    chance = Random(seed)
    usual = [point for point in all_points() if point.needs in ("", "flap", "claim", "regret")]
    slower: list[tuple[str, Strike]] = [
        ("SIGTERM", kills.stop),
        ("Postgres stopped at once", database.restart_immediate),
        ("phones flap", clones.flap),
    ]
    chance.shuffle(slower)
    at_points = deaths(chance.sample(usual, 16), 1, result)
    deadly = [
        strike
        for pair in zip(at_points[::2], at_points[1::2], strict=True)
        for strike in (("kill -9", kills.kill), *pair)
    ]
    strikes = [*deadly[:3], *slower, *deadly[3:]]
    return [Plan("the cut", strikes, confirm_timeout=4, within=within, least=3)]


def _kills(wanted: Wanted) -> list[Plan]:
    """The last of every four rounds with ``resend``."""
    plans = []
    for at, begun in enumerate(range(0, wanted.kills, KILLS), 1):
        strikes = [("kill -9", kills.kill)] * min(KILLS, wanted.kills - begun)
        resend = at % 4 == 0
        name = f"kills {at}{', resend' if resend else ''}"
        plans.append(Plan(name, strikes, resend=resend))
    return plans


def _stops() -> Plan:
    return Plan("orderly stops", [("SIGTERM", kills.stop)] * 10, forbidden=WHERE_NOBODY_DIES)


def _failpoints(wanted: Wanted, result: Result) -> list[Plan]:
    points = all_points()
    Random(wanted.seed).shuffle(points)
    usual = [point for point in points if point.needs != "resend"]
    groups = [usual[at : at + POINTS] for at in range(0, len(usual), POINTS)]
    plans = [
        _deaths(f"fail-points {at}", group, wanted, result) for at, group in enumerate(groups, 1)
    ]
    rest = [point for point in points if point.needs == "resend"]
    return [*plans, _deaths("fail-points, resend", rest, wanted, result, resend=True)]


def _deaths(
    name: str,
    points: Sequence[FailPoint],
    wanted: Wanted,
    result: Result,
    resend: bool = False,
) -> Plan:
    return Plan(name, deaths(points, wanted.times, result), resend=resend)


def _database(wanted: Wanted) -> Plan:
    strikes = [(name, strike) for name, (strike, times) in DATABASE.items() for _ in range(times)]
    Random(wanted.seed).shuffle(strikes)
    return Plan("Postgres in trouble", strikes, confirm_timeout=20, hurry=1, lives=True)


def _network(wanted: Wanted) -> list[Plan]:
    to_phones = [(name, roads.to_phones(name)) for name in TROUBLES] * TROUBLE_TIMES
    to_database = [
        (f"{name} to Postgres", roads.to_database(name)) for name in TROUBLES
    ] * DATABASE_ROAD_TIMES
    Random(wanted.seed).shuffle(to_phones)
    Random(wanted.seed).shuffle(to_database)
    return [
        Plan(
            "phones' network", to_phones, confirm_timeout=20, hurry=1, lives=True, over_roads=True
        ),
        Plan(
            "Postgres' network",
            to_database,
            confirm_timeout=20,
            hurry=1,
            lives=True,
            database_over_road=True,
        ),
    ]


def _clones() -> Plan:
    strikes = [("the same phone twice", clones.clone), ("phones flap", clones.flap)] * 10
    return Plan(
        "the same phone twice",
        strikes,
        confirm_timeout=20,
        hurry=1,
        lives=True,
        forbidden=WHERE_NOBODY_DIES,
    )
