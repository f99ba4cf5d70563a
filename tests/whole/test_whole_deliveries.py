"""Delivery reports over the wire: asked for by an agent, told by a phone, shown to the agent."""

from __future__ import annotations

from typing import Any

import pytest
from handset import Handset
from visitors import Org, until

pytestmark = pytest.mark.whole

SIM = {"slot": 0, "number": "+15550100001"}


def ticket(org: Org, id_: int) -> dict[str, Any]:
    answer = org.agent.get(f"/tickets/{org.id}/{id_}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def becomes(org: Org, id_: int, status: str, error: str | None = None) -> dict[str, Any]:
    """The ticket once it is so."""

    def look() -> dict[str, Any] | None:
        told = ticket(org, id_)
        return told if (told["status"], told["error"]) == (status, error) else None

    return until(look)


def test_a_report_makes_the_ticket_delivered_and_the_frame_asks_for_it(org: Org) -> None:
    with org.phone(SIM) as phone:
        (wanted,) = org.send(receipt=True)["results"]
        assert wanted["segments"] == 1
        plain = org.ticket()
        frames = {frame["id"]: frame for frame in (phone.hear(), phone.hear())}
        assert frames[wanted["id"]]["receipt"] is True
        assert "receipt" not in frames[plain]
        phone.confirm(wanted["id"], sent_at=1700000000000)
        phone.say(type="delivery_report", id=wanted["id"], delivered=True, at=1700000005000)
        told = becomes(org, wanted["id"], "delivered")
        assert told["history"][-2:] == [
            {"what": "sent", "at": "2023-11-14T22:13:20+00:00"},
            {"what": "delivered", "at": "2023-11-14T22:13:25+00:00"},
        ]
        (row,) = org.read(status="delivered")
        assert (row["id"], row["receipt"]) == (wanted["id"], True)
        assert row["delivered_at"] == "2023-11-14T22:13:25+00:00"
        phone.confirm(plain)
        assert "receipt" not in org.settled(plain)


def test_one_that_did_not_arrive_stays_sent_and_says_why(org: Org) -> None:
    with org.phone(SIM) as phone:
        id_ = org.ticket(receipt=True)
        phone.hear()
        phone.say(type="delivery_report", id=id_, delivered=False, error="absent subscriber")
        told = becomes(org, id_, "sent", "undelivered")
        assert told["error_detail"] == "absent subscriber"
        phone.say(type="delivery_report", id=id_, delivered=True)
        becomes(org, id_, "delivered")


def test_what_is_unknown_is_told_and_what_is_repeated_or_not_asked_for_is_not(org: Org) -> None:
    with org.phone(SIM) as phone:
        plain, wanted = org.ticket(), org.ticket(receipt=True)
        for id_ in (plain, wanted):
            assert phone.hear()["id"] == id_
        for id_ in (plain, wanted, wanted):
            phone.say(type="delivery_report", id=id_, delivered=True)
        phone.say(type="delivery_report", id=wanted + 99, delivered=True)
        frame = phone.hear()
        assert (frame["type"], frame["code"]) == ("error", "unknown_ticket")
        assert (frame["in_reply_to"], frame["id"]) == ("delivery_report", wanted + 99)
        becomes(org, wanted, "delivered")
        assert ticket(org, plain)["status"] == "sending"
        phone.confirm(plain)
        phone.confirm(wanted)
        org.settled(plain)
        assert ticket(org, wanted)["status"] == "delivered"


def test_the_reference_phone_reports_what_it_was_asked_to(org: Org) -> None:
    with Handset(f"{org.url}/websocket", org.id, org.secret) as handset:
        becomes(org, org.ticket(receipt=True), "delivered")
        becomes(org, org.ticket(), "sent")
        handset.shows("arrived")
