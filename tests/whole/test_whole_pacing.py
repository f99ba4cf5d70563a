"""Paced SIMs over the wire, with requests and websockets: what waits goes by itself, and what was
handed out counts when the gateway has been killed meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from canaries import canaries
from console import DOCS, hold
from daemon import Daemon, new_home
from sighted import SHOWN, Metrics
from test_whole_pages import terminal
from visitors import Org, Phone, problem, until

pytestmark = pytest.mark.whole

NUMBER = "+15550100001"
SIM = {"slot": 0, "number": NUMBER, "label": "SIM1", "carrier": "AT&T"}
SECRET = "my-secret-key-123"


@pytest.fixture
def own() -> Iterator[Daemon]:
    """A gateway on which nothing has happened yet."""
    with new_home() as home, Daemon(home) as daemon:
        yield daemon


def paced(**pace: Any) -> dict[str, Any]:
    return {**SIM, "pace": pace}


def next_ticket(phone: Phone) -> int:
    """The id of the next one that the phone is to send; it does so."""
    while (frame := phone.hear())["type"] != "send_sms":
        pass
    phone.confirm(frame["id"])
    return int(frame["id"])


def test_what_waits_for_its_pace_is_counted() -> None:
    with new_home() as home, Daemon(home, *SHOWN) as gateway:
        org = Org(gateway.url).claim()
        with org.agent, org.phone(paced(max_per_hour=2)) as phone:
            org.send(messages=texts(5))
            assert [next_ticket(phone), next_ticket(phone)] == [1, 2]
            seen = Metrics(gateway).wait_for("smsd_tickets_paced", 3)
            assert seen['smsd_tickets{status="queued"}'] == 3
        Metrics(gateway).wait_for("smsd_tickets_paced", 0)


def left(org: Org) -> dict[str, Any]:
    (sim,) = org.sims()["live_sims"]
    told: dict[str, Any] = sim["pace"]
    return told


def texts(number: int) -> list[dict[str, str]]:
    return [{"to": canaries.number(), "body": canaries.text()} for _ in range(number)]


def test_what_a_phone_says_holds_and_the_rest_follows_by_itself(gateway: Daemon) -> None:
    org = Org(gateway.url).claim()
    with org.agent, org.phone(paced(windows=[{"segments": 2, "seconds": 2}])) as phone:
        results = org.send(messages=texts(5))["results"]
        assert [result["status"] for result in results] == ["queued"] * 5
        assert ["not_before" in result for result in results] == [False, False, True, True, True]
        moments = [datetime.fromisoformat(result["not_before"]) for result in results[2:]]
        assert moments == sorted(moments)
        assert [next_ticket(phone) for _ in range(5)] == [1, 2, 3, 4, 5]
        sent = [org.settled(id_)["sent_at"] for id_ in (1, 3, 5)]
        assert moments[0] <= datetime.fromisoformat(sent[1])


def test_a_kill_forgets_nothing_of_what_was_handed_out() -> None:
    with new_home() as home:
        with Daemon(home) as gateway:
            org = Org(gateway.url).claim()
            answer = org.agent.post(f"/paces/{org.id}", json={"sim": NUMBER, "max_per_hour": 2})
            assert answer.json()["count"] == 1
            with org.agent, org.phone(SIM) as phone:
                org.send(messages=texts(4))
                assert [next_ticket(phone), next_ticket(phone)] == [1, 2]
                gateway.kill()
        with Daemon(home) as again:
            org = org.on(again)
            with org.agent, org.phone(SIM) as phone:
                assert phone.hear_all_before_pong() == []
                told = left(org)
                assert (told["left"], told["windows"][0]["left"]) == (0, 0)
                assert told["next_slot"]
                assert "not_before" in org.send()["results"][0]
                answer = org.agent.post(f"/paces/{org.id}", json={"sim": NUMBER})
                assert answer.json()["paces"] == []
                assert [next_ticket(phone) for _ in range(3)] == [3, 4, 5]
                assert "pace" not in org.sims()["live_sims"][0]


def test_a_pace_that_means_nothing_is_refused_with_what_would_be_right(gateway: Daemon) -> None:
    org = Org(gateway.url).claim()
    with org.agent:
        told = problem(org.agent.post(f"/paces/{org.id}", json={"burst": 2}), 422)
        assert "give max_per_minute" in told["errors"][0]["msg"]
        wrong = {"max_per_minute": 0, "windows": [{"segments": 1}], "sim": "none"}
        told = problem(org.agent.post(f"/paces/{org.id}", json=wrong), 422)
        assert [fault["loc"] for fault in told["errors"]] == [
            ["sim"],
            ["max_per_minute"],
            ["windows", 0, "seconds"],
        ]
        with org.phone() as phone:
            phone.say(type="sims", sims=[{"slot": 0, "pace": {"max_per_day": -1}}])
            frame = phone.hear()
            assert (frame["type"], frame["code"]) == ("error", "bad_frame")
            assert "sims.0.pace.max_per_day must be a whole number of segments" in frame["detail"]


def test_for_a_hundred_sims_and_no_more(gateway: Daemon) -> None:
    org = Org(gateway.url).claim()
    with org.agent:
        for at in range(100):
            sim = {"sim": f"+1555{at:07}", "max_per_day": 1}
            assert org.agent.post(f"/paces/{org.id}", json=sim).status_code == 200
        more = {"sim": "+16660000000", "max_per_day": 1}
        told = problem(org.agent.post(f"/paces/{org.id}", json=more), 422)
        assert told["errors"][0]["loc"] == ["sim"]
        assert org.agent.get(f"/paces/{org.id}").json()["count"] == 100


@pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")
def test_every_command_of_the_page_answers_as_the_page_says(own: Daemon) -> None:
    org = Org(own.url, "myorg", SECRET).claim()
    with org.agent, org.phone(SIM) as phone:
        shell = terminal(own)

        def answer(command: str) -> str:
            if "/sims/" in command:
                until(lambda: org.read(status="sending"))
                next_ticket(phone)
            return shell(command)

        hold(DOCS / "pacing.md", answer)
