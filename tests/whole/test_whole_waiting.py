"""Agents that wait with a client which others wrote, and what they hear meanwhile."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
import requests
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from sighted import SHOWN, Metrics
from visitors import Agent, Org, problem, until

pytestmark = pytest.mark.whole

T = TypeVar("T")


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], T]], Future[T]]]:
    """Does something in a thread of its own."""
    with ThreadPoolExecutor(32) as pool:
        yield pool.submit


def heard(org: Org, **asked: Any) -> list[dict[str, Any]]:
    """What comes while one waits for it; on a connection of its own."""
    with org.at("127.0.0.1").agent as agent:
        answer = agent.get(f"/messages/{org.id}", params={"wait": 30, **asked})
    assert answer.status_code == 200, answer.text
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


def test_many_who_wait_hear_an_sms_that_arrives(org: Org, meanwhile: Any) -> None:
    asked: list[dict[str, str]]
    asked = [{}, {"direction": "in"}, {"address": "+15551112222"}, {"sim": "3"}]
    readers = [meanwhile(heard, org, **one) for one in asked * 5]
    later = meanwhile(heard, org, direction="out")
    body = canaries.text()
    assert org.store(org.sms(body, address="+1 555 111-2222", sim_slot=3)).status_code == 200
    for reader in readers:
        assert [sms["body"] for sms in reader.result(PATIENCE)] == [body]
    assert not later.done()
    ticket = org.ticket()
    assert [sms["id"] for sms in later.result(PATIENCE)] == [ticket]


def test_nothing_is_heard_twice_or_missed_by_who_goes_on_from_what_it_heard(
    org: Org, meanwhile: Any
) -> None:
    def walk() -> list[int]:
        seen: list[int] = []
        while len(seen) < 60:
            seen += [sms["id"] for sms in heard(org, since_id=seen[-1] if seen else 0)]
        return seen

    walkers = [meanwhile(walk) for _ in range(4)]
    for _ in range(60):
        assert org.store(org.sms()).status_code == 200
    for walker in walkers:
        assert walker.result(PATIENCE) == list(range(1, 61))


def test_when_nothing_comes_the_page_is_empty(org: Org) -> None:
    assert heard(org, wait=0.3) == []


def test_who_may_not_read_does_not_wait(org: Org) -> None:
    with Agent(org.url) as stranger:
        stranger.headers["X-Secret-Key"] = canaries.secret()
        problem(stranger.get(f"/messages/{org.id}", params={"wait": 60}), 401)
    fault = problem(org.agent.get(f"/messages/{org.id}", params={"wait": "long"}), 422)
    assert fault["errors"] == [{"loc": ["wait"], "msg": "must be a number of seconds from 0 to 60"}]


def begun(org: Org) -> http.client.HTTPConnection:
    """A client of its own that waits for a minute."""
    line = http.client.HTTPConnection(urlsplit(org.url).netloc, timeout=PATIENCE)
    line.request("GET", f"/messages/{org.path_form}?wait=60")
    return line


def test_places_are_free_once_clients_hang_up_and_at_the_end_all_are_answered() -> None:
    with new_home() as home, Daemon(home, *SHOWN) as gateway, ExitStack() as stack:
        org, metrics = Org(gateway.url), Metrics(gateway)
        with org.agent:
            org.claim()
        lines = [stack.enter_context(closing(begun(org))) for _ in range(30)]
        metrics.wait_for("smsd_http_waiting", 30)
        for line in lines[:20]:
            line.close()
        metrics.wait_for("smsd_http_waiting", 10)
        gateway.process.send_signal(signal.SIGTERM)
        for line in lines[20:]:
            answer = line.getresponse()
            assert (answer.status, json.loads(answer.read())["count"]) == (200, 0)
            assert answer.headers["Connection"] == "close"
        assert gateway.process.wait(PATIENCE) == 0


# -- asking ----------------------------------------------------------------------------------


def asked(org: Org, to: str, key: str | None = None, **more: Any) -> requests.Response:
    """A question and what comes of it; on a connection of its own."""
    headers = {"Idempotency-Key": key} if key else {}
    body = {"to": to, "body": canaries.text(), **more}
    with org.at("127.0.0.1").agent as agent:
        return agent.post(f"/ask/{org.id}", json=body, headers=headers)


def test_what_a_phone_receives_from_whom_was_asked_is_the_answer(org: Org, meanwhile: Any) -> None:
    them, sim = canaries.number(), {"slot": 0, "number": canaries.number()}
    with org.phone(sim) as phone:
        waiting = meanwhile(asked, org, them, sim=0, wait=30)
        ticket = phone.hear()
        assert (ticket["type"], ticket["to"]) == ("send_sms", them)
        phone.confirm(ticket["id"])
        assert org.settled(ticket["id"])["status"] == "sent"
        phone.receive(canaries.text(), sim_slot=0)
        reply = canaries.text()
        phone.receive(reply, address=them, sim_slot=0)
        answer = waiting.result(PATIENCE).json()
    assert answer["ok"]
    assert (answer["ticket"]["id"], answer["ticket"]["status"]) == (ticket["id"], "sent")
    assert answer["reply"] == org.row(ticket["id"] + 2)
    assert (answer["reply"]["body"], answer["reply"]["sim_number"]) == (reply, sim["number"])


def test_a_ticket_that_no_phone_could_send_is_told_before_the_time_is_over(
    org: Org, meanwhile: Any
) -> None:
    with org.phone({"slot": 0}) as phone:
        waiting = meanwhile(asked, org, canaries.number(), wait=60)
        phone.confirm(phone.hear()["id"], success=False, error="no signal")
        answer = waiting.result(PATIENCE).json()
    assert (answer["ticket"]["status"], answer["reply"]) == ("failed", None)
    assert answer["ticket"]["error_detail"] == "no signal"


def test_a_question_has_its_lifetime_and_its_report_like_any_sms(org: Org, meanwhile: Any) -> None:
    with org.phone({"slot": 0}) as phone:
        waiting = meanwhile(
            asked, org, canaries.number(), ttl=3600, receipt=True, priority=3, wait=30
        )
        ticket = phone.hear()
        assert (ticket["receipt"], ticket["expires_at"] > 0) == (True, True)
        phone.confirm(ticket["id"], success=False)
        told = waiting.result(PATIENCE).json()["ticket"]
    assert (told["status"], told["priority"], told["receipt"]) == ("failed", 3, True)
    waiting = asked(org, canaries.number(), ttl=1, wait=60)
    assert (waiting.json()["ticket"]["status"], waiting.json()["reply"]) == ("expired", None)


def test_a_question_is_sent_once_however_often_it_is_asked(org: Org, meanwhile: Any) -> None:
    them, key, text = canaries.number(), "lunch-7", canaries.text()
    with org.phone({"slot": 0}) as phone:
        waiting = meanwhile(asked, org, them, key, body=text, wait=30)
        ticket = phone.hear()["id"]
        told = problem(asked(org, them, key, body=text), 409)
        assert told["type"] == "urn:smsd:problem:still_asking"
        problem(asked(org, them, key, body=canaries.text()), 422)
        phone.receive(canaries.text(), address=them)
        first = waiting.result(PATIENCE)
        again = asked(org, them, key, body=text, wait=1)
        assert phone.hear_all_before_pong() == []
    assert again.json()["reply"] == first.json()["reply"]
    assert (first.json()["ticket"]["id"], again.json()["ticket"]["id"]) == (ticket, ticket)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


def test_a_question_whose_asker_hangs_up_is_sent_and_its_key_free_again(org: Org) -> None:
    to, text = canaries.number(), canaries.text()
    body = json.dumps({"to": to, "body": text}).encode()
    headers = {"X-Secret-Key": org.secret, "Idempotency-Key": "lunch-8"}
    line = http.client.HTTPConnection(urlsplit(org.url).netloc, timeout=PATIENCE)
    with closing(line):
        line.request("POST", f"/ask/{org.id}", body, headers)
        ticket = until(lambda: org.read(direction="out"))[0]["id"]
    answer = until(
        lambda: None if (said := asked(org, to, "lunch-8", body=text)).status_code == 409 else said
    )
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert answer.json()["ticket"]["id"] == ticket
    assert len(org.read(direction="out")) == 1
