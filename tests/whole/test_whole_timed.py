"""Tickets with a time of their own, over the wire: sent later, not too late, in the order that
matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from canaries import canaries
from daemon import Daemon, new_home
from visitors import Org, Phone, problem, until

pytestmark = pytest.mark.whole

SIM = {"slot": 0, "number": "+15550100001"}


def ahead(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def ticket(org: Org, id_: int) -> dict[str, Any]:
    answer = org.agent.get(f"/tickets/{org.id}/{id_}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def given(phone: Phone) -> dict[str, Any]:
    frame = phone.hear()
    assert frame["type"] == "send_sms"
    return frame


def test_a_ticket_goes_at_its_time_and_holds_nobody_up(org: Org) -> None:
    with org.phone(SIM) as phone:
        at = ahead(2)
        (told,) = org.send(send_at=at)["results"]
        assert told["status"] == "queued"
        assert datetime.fromisoformat(told["not_before"]) - datetime.fromisoformat(at) < timedelta(
            milliseconds=1
        )
        now = org.ticket()
        frame = given(phone)
        assert frame["id"] == now
        assert "expires_at" not in frame
        phone.confirm(now)
        frame = given(phone)
        assert frame["id"] == told["id"]
        assert datetime.now(UTC) >= datetime.fromisoformat(at)
        phone.confirm(frame["id"])
        assert org.settled(frame["id"])["send_at"] is not None


def test_the_more_important_goes_first_when_a_phone_comes(org: Org) -> None:
    org.claim()
    sms = {"to": canaries.number(), "body": canaries.text()}
    drafts = [sms, {**sms, "priority": -1}, {**sms, "priority": 10}, sms]
    ids = [told["id"] for told in org.send(messages=drafts)["results"]]
    with org.phone(SIM) as phone:
        heard = [given(phone)["id"] for _ in ids]
    assert heard == [ids[2], ids[0], ids[3], ids[1]]


def test_what_nobody_sent_in_time_has_expired_and_is_given_to_no_phone(org: Org) -> None:
    org.claim()
    late, good = org.ticket(ttl=1), org.ticket()
    until(lambda: ticket(org, late)["status"] == "expired")
    assert [row["id"] for row in org.read(status="expired")] == [late]
    with org.phone(SIM) as phone:
        assert given(phone)["id"] == good
        phone.confirm(good)
    problem(org.agent.delete(f"/tickets/{org.id}/{late}"), 409)


def test_a_phone_is_told_until_when_and_may_say_that_it_was_too_late(org: Org) -> None:
    with org.phone(SIM) as phone:
        dropped, sent = org.ticket(ttl=3600), org.ticket(expires_at=ahead(3600))
        for id_ in (dropped, sent):
            frame = given(phone)
            assert frame["id"] == id_
            left = datetime.fromtimestamp(frame["expires_at"] / 1000, UTC) - datetime.now(UTC)
            assert timedelta(minutes=50) < left < timedelta(minutes=70)
        phone.confirm(dropped, success=False, error="expired")
        until(lambda: ticket(org, dropped)["status"] == "expired")
        phone.confirm(dropped)
        assert org.settled(dropped)["status"] == "sent"
        phone.confirm(sent)


def test_one_for_later_can_be_cancelled_until_then(org: Org) -> None:
    later = org.claim().ticket(send_at=ahead(3600))
    answer = org.agent.delete(f"/tickets/{org.id}/{later}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("asked", "loc"),
    [
        ({"send_at": "2001-01-01"}, ["send_at"]),
        ({"expires_at": "2001-01-01T00:00:00Z"}, ["expires_at"]),
        ({"ttl": 5, "expires_at": "2001-01-01T00:00:00Z"}, []),
        ({"priority": 11}, ["priority"]),
    ],
    ids=["no time", "a time that is over", "two lifetimes", "no priority"],
)
def test_what_cannot_be_is_refused_with_its_place(org: Org, asked: Any, loc: Any) -> None:
    org.claim()
    told = problem(org.post(to=canaries.number(), body=canaries.text(), **asked), 422)
    assert [fault["loc"] for fault in told["errors"]] == [loc]
    assert org.read() == []


def test_a_gateway_that_was_away_at_the_time_does_then_what_fell_due() -> None:
    with new_home() as home:
        with Daemon(home) as daemon:
            org = Org(daemon.url).claim()
            at = ahead(2)
            later, late = org.ticket(send_at=at), org.ticket(ttl=1)
            daemon.kill()
        until(lambda: ahead(0) > at)
        with Daemon(home) as daemon:
            org = Org(daemon.url, org.id, org.secret)
            until(lambda: ticket(org, late)["status"] == "expired")
            with org.phone(SIM) as phone:
                assert given(phone)["id"] == later
                phone.confirm(later)
                org.settled(later)
