"""A gateway that was killed is started again, and all its phones are there at once.

Counts only; how long ten thousand take is measured by `faults.storm`.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import PATIENCE, Daemon, new_home
from faults.flock import Flock, Return
from faults.storm import SECRET, made_orgs, owners
from visitors import Agent

PHONES, ORGS = 300, 20


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def on_line(gateway: Daemon, orgs: list[str]) -> int:
    """How many phones the gateway says are on line."""
    with Agent(gateway.url) as agent:
        agent.headers["X-Secret-Key"] = SECRET
        return sum(int(agent.get(f"/sims/{org}").json()["online_devices"]) for org in orgs)


def test_all_phones_of_a_killed_gateway_are_back_and_none_was_turned_away(home: Path) -> None:
    """The orgs have no hash that argon2id could read: whoever asked it would fail."""

    async def lives() -> tuple[Return, Return, int, int]:
        with Daemon(home, "--log-level", "info") as first:
            orgs, port = await asyncio.to_thread(made_orgs, home / "data", ORGS), first.port
            flock = Flock(owners(PHONES, orgs), port)
            came = await flock.come(PATIENCE)
            there = await asyncio.to_thread(on_line, first, orgs)
            first.kill()
            await flock.cut_off()
        with Daemon(home, "--log-level", "info", port=port) as second:
            back = await flock.come(PATIENCE)
            there_again = await asyncio.to_thread(on_line, second, orgs)
            second.kill()
        return came, back, there, there_again

    came, back, there, there_again = asyncio.run(lives())
    assert (came.trouble, there) == ({}, PHONES)
    assert (back.trouble, there_again) == ({}, PHONES)


def test_a_gateway_takes_all_the_open_files_that_it_may_have(home: Path) -> None:
    """Shells give 1024, which is a thousand phones."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    try:
        gateway = Daemon(home)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    with gateway:
        assert resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE) == (most, most)
