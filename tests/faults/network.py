"""Nemeses of the network: what can happen on the roads between phones and a gateway.

A nemesis has a `name`, `begin(rng)` makes the trouble and `heal()` ends it. All that is left to
chance comes from the ``rng``, in the same order: the same seed makes the same trouble. Daemons,
databases and phones are others' to spoil.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faults.proxy import ChaosProxy
from faults.road import WAYS

Spoil = Callable[[ChaosProxy, random.Random], None]


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One kind of trouble, for some of the roads or all of them."""

    name: str
    roads: Sequence[ChaosProxy]
    spoil: Spoil

    def begin(self, rng: random.Random) -> None:
        for road in rng.sample(self.roads, rng.randint(1, len(self.roads))):
            self.spoil(road, rng)

    def heal(self) -> None:
        for road in self.roads:
            road.heal()


def _slow(road: ChaosProxy, rng: random.Random) -> None:
    road.latency(rng.uniform(50, 800), jitter=rng.uniform(0, 400))


def _narrow(road: ChaosProxy, rng: random.Random) -> None:
    road.bandwidth(rng.choice([1000, 4000, 16_000]))


def _crumbling(road: ChaosProxy, rng: random.Random) -> None:
    road.slices(rng.randint(1, 20), pause=rng.uniform(0.001, 0.01))


def _silent(road: ChaosProxy, rng: random.Random) -> None:
    road.black_hole()


def _deaf_or_mute(road: ChaosProxy, rng: random.Random) -> None:
    road.black_hole(way=rng.choice(WAYS))


def _stuck(road: ChaosProxy, rng: random.Random) -> None:
    road.stall(way=rng.choice(WAYS))


def _torn(road: ChaosProxy, rng: random.Random) -> None:
    road.reset()


def _torn_soon(road: ChaosProxy, rng: random.Random) -> None:
    """In the middle of a frame, or of a handshake."""
    road.reset(after=rng.randint(1, 600), way=rng.choice(WAYS))


def _half_open(road: ChaosProxy, rng: random.Random) -> None:
    road.half_open()


def _closed(road: ChaosProxy, rng: random.Random) -> None:
    road.refuse()
    road.reset()


#: Every kind of trouble, by its name.
TROUBLES: dict[str, Spoil] = {
    "slow network": _slow,
    "narrow network": _narrow,
    "crumbling network": _crumbling,
    "silent network": _silent,
    "one-way network": _deaf_or_mute,
    "stuck network": _stuck,
    "torn connections": _torn,
    "connections torn in mid-frame": _torn_soon,
    "half-open connections": _half_open,
    "closed network": _closed,
}


def nemeses(roads: Sequence[ChaosProxy]) -> list[Spoilt]:
    """All of them, for these roads."""
    return [Spoilt(name, roads, spoil) for name, spoil in TROUBLES.items()]
