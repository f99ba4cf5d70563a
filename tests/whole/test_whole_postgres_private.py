"""The private Postgres dies, and the gateway has it run again; or is asked to stop meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canaries import canaries
from daemon import Daemon, new_home
from faults.processes import children_of, title
from traffic import Flow
from visitors import Org

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One for all: a second start is much quicker than a first."""
    with new_home() as home:
        yield home


def excused(daemon: Daemon) -> Daemon:
    """Its log may tell of what is done to it here."""
    daemon.excused = ["the database is away", "The private Postgres ended by itself"]
    return daemon


def backend(gateway: Daemon) -> int:
    """A process of its Postgres that serves the gateway."""
    found = children_of(gateway.postgres())
    return next(pid for pid in found if b" smsd smsd " in title(pid))


BLOWS: dict[str, Callable[[Daemon], None]] = {
    "killed": lambda gateway: os.kill(gateway.postgres(), signal.SIGKILL),
    "one of its backends killed": lambda gateway: os.kill(backend(gateway), signal.SIGKILL),
    "shut down at once by a stranger": lambda gateway: os.kill(gateway.postgres(), signal.SIGQUIT),
    "shut down in order by a stranger": lambda gateway: os.kill(gateway.postgres(), signal.SIGINT),
}


def test_however_it_dies_it_runs_again_with_full_service_and_nothing_lost(home: Path) -> None:
    with excused(Daemon(home)) as gateway:
        org = Org(gateway.url).claim()
        with org.agent, org.phone() as phone:
            with Flow(org, phone) as flow:
                for blow in BLOWS.values():
                    flow.passes()
                    blow(gateway)
                flow.passes()
            for caller in flow.callers:
                assert caller.lost() == []
            sent = org.read(direction="out", status="sent", limit=1000)
            assert sorted(flow.pushed) == [row["id"] for row in sent]
            assert org.read(direction="out", status="sending") == []
            assert org.read(direction="out", status="queued") == []


def test_a_gateway_that_is_asked_to_stop_while_its_postgres_is_gone_stops_and_keeps_the_data(
    home: Path,
) -> None:
    text = canaries.text()
    with excused(Daemon(home)) as gateway:
        org = Org(gateway.url).claim()
        with org.agent:
            assert org.store(org.sms(text)).status_code == 200
        os.kill(gateway.postgres(), signal.SIGKILL)
        assert gateway.stop() == 0
    with excused(Daemon(home)) as gateway:
        org = Org(gateway.url, org.id, org.secret)
        with org.agent:
            assert [row["body"] for row in org.read()] == [text]
