"""The long and the odd: tests that need tools which are not Python's, or more time than a change
should wait for. ``make test-more`` runs them; ``make test`` does not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The daemon, its visitors and the canaries are those of the tests of the whole.
sys.path.insert(0, str(Path(__file__).parents[1] / "whole"))

from daemon import Daemon, new_home
from fronts import agent
from proxies import PROXIES, Proxy, proxy
from visitors import until


@pytest.fixture(scope="module")
def home_behind() -> Iterator[Path]:
    with new_home() as home:
        yield home


@pytest.fixture(scope="module")
def behind(home_behind: Path) -> Iterator[Daemon]:
    with Daemon(home_behind, "--trusted-proxies=127.0.0.1") as daemon:
        yield daemon


@pytest.fixture(scope="module", params=PROXIES)
def front(
    request: pytest.FixtureRequest, behind: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Each proxy in its turn."""
    home = tmp_path_factory.mktemp(request.param)
    with proxy(request.param, home, behind.port) as front:
        until(lambda: agent(front).get("/ready").status_code == 200)
        yield front
