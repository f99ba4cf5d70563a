"""One gateway for most of these tests, with a database of its own, and an org for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from daemon import Daemon, new_home
from visitors import Agent, Org

#: The one web origin whose pages may call.
ORIGIN = "https://app.example"


@pytest.fixture(scope="session")
def gateway() -> Iterator[Daemon]:
    """A running gateway that all tests share: whoever is on it must mind nobody else's business."""
    with new_home() as home, Daemon(home, "--allow-origins", ORIGIN) as daemon:
        yield daemon


@pytest.fixture
def agent(gateway: Daemon) -> Iterator[Agent]:
    """A program that belongs to no org."""
    with Agent(gateway.url) as agent:
        yield agent


@pytest.fixture
def free(gateway: Daemon) -> Iterator[Org]:
    """An org that nobody has claimed."""
    org = Org(gateway.url)
    with org.agent:
        yield org


@pytest.fixture
def org(free: Org) -> Org:
    """An org of the test's own."""
    return free.claim()
