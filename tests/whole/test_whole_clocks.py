"""Clocks that are years wrong, and one that jumps: what is waited for and what is in order goes by
neither the phones' clocks nor the gateway's time of day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from canaries import canaries
from daemon import Daemon, new_home
from faults.proxy import ChaosProxy
from visitors import Org, until

from smsd.domain.records import Ticket
from smsd.gateway.visit import PATIENCE, Identity, Limits, Visit

pytestmark = pytest.mark.whole

DAY, YEAR = 86_400, 31_557_600
#: 1970, 2023 and 2090 as phones' clocks have them, in milliseconds.
EPOCH, LATELY, FAR = 0, 1_700_000_000_000, 3_786_912_000_000


# -- phones' clocks --


def test_an_sms_from_a_wrong_clock_has_its_place_by_arrival(org: Org) -> None:
    dates = [FAR, EPOCH, LATELY, FAR + 1, -1, LATELY - 1, 10**30]
    with org.phone() as phone:
        for n, date in enumerate(dates):
            if n % 2:
                phone.receive(canaries.text(), date=date)
            else:
                assert org.store(org.sms(date=date)).json()["stored"] == 1
    rows = org.read()
    assert [row["id"] for row in rows] == list(range(1, 8))
    assert [row["device_ts"] for row in rows] == [*dates[:-1], None]
    walked = [org.read(since_id=id_, limit=1)[0]["id"] for id_ in range(7)]
    assert walked == list(range(1, 8))


@pytest.mark.parametrize(
    ("sent_at", "shown"),
    [
        (EPOCH, "1970-01-01"),
        (FAR, "2090-01-01"),
        (-1, None),
        (10**30, None),
        (-(2**63), None),
        ("yesterday", None),
    ],
)
def test_a_phones_time_of_sending_is_shown_where_it_is_one(
    org: Org, sent_at: object, shown: str | None
) -> None:
    with org.phone() as phone:
        ticket = org.ticket()
        assert phone.hear()["id"] == ticket
        phone.confirm(ticket, sent_at=sent_at)
        row = org.settled(ticket)
        assert row["status"] == "sent"
        assert row["sent_at"][:10] == (shown or row["created_at"][:10])


# -- the gateway's clock --

#: Python runs this at its start; from then on the time of day is off by what a file says.
SKEWED = """
import os, time
_true = time.time

def skewed():
    with open(os.environ["SKEW"]) as skew:
        return _true() + float(skew.read())

time.time = skewed
"""


@dataclass
class Skewed:
    """A gateway whose time of day can be set."""

    daemon: Daemon
    skew: Path

    def set(self, seconds: float) -> None:
        """So far it is off, all at once."""
        new = self.skew.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.skew)


@pytest.fixture
def skewed() -> Iterator[Skewed]:
    with new_home() as home:
        (home / "sitecustomize.py").write_text(SKEWED)
        (home / "skew").write_text("0")
        path = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
        environ = {"PYTHONPATH": path, "SKEW": str(home / "skew")}
        with Daemon(home, "--resume-grace", "1", environ=environ) as daemon:
            yield Skewed(daemon, home / "skew")


def test_a_gateway_whose_clock_jumps_goes_on_as_if_nothing_had_happened(skewed: Skewed) -> None:
    org = Org(skewed.daemon.url)
    with org.agent, ExitStack() as calls, road_to(skewed.daemon) as road:
        org.claim()
        # One of twenty phones is pinged in any second.
        phones = [calls.enter_context(by(road, org).phone()) for _ in range(20)]
        for id_, seconds in enumerate([DAY, -10 * YEAR], start=1):
            lose(skewed.daemon, org)
            with org.phone({"slot": 7}, device_id="d") as phone:
                org.sims()
                skewed.set(seconds)  # while the phone's grace runs
                until_pinged(road)
                assert phone.hear()["id"] == id_
                phone.confirm(id_)
                assert org.settled(id_)["attempts"] == 2
            assert [one.hear_all_before_pong() for one in phones] == [[]] * 20
        rows = org.read()
    assert [row["id"] for row in rows] == [1, 2]
    assert rows[0]["created_at"] < rows[1]["created_at"]


def road_to(daemon: Daemon) -> ChaosProxy:
    return ChaosProxy(("127.0.0.1", daemon.port))


def by(road: ChaosProxy, org: Org) -> Org:
    """The org's people on this road."""
    return Org(f"http://127.0.0.1:{road.port}", org.id, org.secret)


def until_pinged(road: ChaosProxy) -> None:
    """Until phones that are told nothing else are sent something."""
    before = road.passed("down")
    until(lambda: road.passed("down") > before, within=10)


def lose(daemon: Daemon, org: Org) -> None:
    """A plain phone is given a ticket on a dead road: it is due again after its grace."""
    others = org.sims()["online_devices"]
    with road_to(daemon) as road:
        with by(road, org).phone({"slot": 7}, device_id="d"):
            road.black_hole(way="down")
            org.ticket(sim=7)
            until(lambda: road.swallowed("down"))
            road.reset()
        until(lambda: org.sims()["online_devices"] == others)


# -- a visit --


class Reader:
    """A phone that takes everything."""

    writable = True

    def push(self, *_: object) -> None: ...
    def close(self, *_: object) -> None: ...


@pytest.mark.parametrize("jump", [-10 * YEAR, DAY])
def test_a_place_is_given_up_by_the_clock_and_written_down_by_the_time_of_day(jump: float) -> None:
    now = {"clock": 1000.0, "day": 1_700_000_000.0}
    visit = Visit(
        "an-org",
        "a-session",
        Identity(),
        Reader(),
        Limits(window=9, unanswered=1),
        clock=lambda: now["clock"],
        time_of_day=lambda: now["day"],
        on_line=True,
    )
    visit.give([Ticket(org_id="an-org", id=1, to="1", body="x", sim=None, ref="r", attempt=1)])
    now["day"] += jump
    now["clock"] += PATIENCE - 1
    now["day"] += PATIENCE - 1
    assert visit.places == 0
    visit.receipt(1)
    now["clock"] += 1
    now["day"] += 1
    assert visit.places == 1
    (known,) = visit.unsettled()
    pushed = (1_700_000_000 + jump) * 1000
    assert (known.pushed, known.received) == (pushed, pushed + (PATIENCE - 1) * 1000)
