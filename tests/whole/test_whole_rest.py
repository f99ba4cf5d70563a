"""Contract section 2 over the wire: what is stored, read and sent, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from canaries import canaries
from visitors import Agent, Org, problem

pytestmark = pytest.mark.whole

INBOUND = {
    *("id", "direction", "address", "body", "sim_slot", "sim_number", "status"),
    *("device_ts", "created_at"),
}
OUTBOUND = INBOUND | {"sent_at", "attempts", "error", "error_detail"}
BIG = 2**63


def locs(answer: Any) -> list[list[str | int]]:
    """Where the faults are that a 422 lists."""
    faults = problem(answer, 422)["errors"]
    assert all(fault["msg"] for fault in faults)
    return [fault["loc"] for fault in faults]


# -- /webhook --


def test_a_stored_sms_reads_as_it_came(org: Org) -> None:
    number = canaries.number()
    sms = org.sms("héllo 🔑\r\n\t'\";--", date=1700000000000, sim_slot=1, sim_number=number, id="7")
    assert org.store(sms).json() == {"ok": True, "org_id": org.id, "stored": 1}

    (row,) = org.read()

    assert set(row) == INBOUND
    assert row["created_at"].endswith("+00:00")
    created = datetime.fromisoformat(row.pop("created_at"))
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60
    assert row == {
        "id": row["id"],
        "direction": "in",
        "address": sms["address"],
        "body": sms["body"],
        "sim_slot": 1,
        "sim_number": number,
        "status": "received",
        "device_ts": 1700000000000,
    }


def test_null_is_the_empty_text(org: Org) -> None:
    org.store({"address": None, "body": None})
    (row,) = org.read()
    assert (row["address"], row["body"]) == ("", "")


def test_texts_at_their_limits_are_stored(org: Org) -> None:
    org.store({"address": "a" * 256, "body": "é" * 65_536})
    (row,) = org.read()
    assert (len(row["address"]), len(row["body"])) == (256, 65_536)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"date": BIG}, {"device_ts": None}),
        ({"date": "1700000000000"}, {"device_ts": 1700000000000}),
        ({"date": 1.7e12}, {"device_ts": 1700000000000}),
        ({"date": 1.5}, {"device_ts": None}),
        ({"date": -1}, {"device_ts": -1}),
        ({"date": "yesterday"}, {"device_ts": None}),
        ({"sim_slot": -1}, {"sim_slot": None}),
        ({"sim_slot": 16}, {"sim_slot": None}),
        ({"sim_slot": "3"}, {"sim_slot": 3}),
        ({"sim_slot": 15.0}, {"sim_slot": 15}),
        ({"sim_number": ""}, {"sim_number": None}),
        ({"id": "x" * 5000}, {}),
        ({"id": BIG}, {}),
        ({"body": "a\0b\ud800c"}, {"body": "a\ufffdb\ufffdc"}),
        ({"address": "\0\udfff"}, {"address": "\ufffd\ufffd"}),
    ],
)
def test_an_sms_is_never_refused_for_its_value(
    org: Org, given: dict[str, Any], stored: dict[str, Any]
) -> None:
    assert org.store(org.sms() | given).json()["stored"] == 1
    (row,) = org.read()
    assert {name: row[name] for name in stored} == stored


def test_every_fault_of_a_delivery_is_listed_and_nothing_is_stored(org: Org) -> None:
    faulty = [
        org.sms(),
        {"address": 5, "body": canaries.text()},
        {"address": canaries.number()},
        {"address": "a" * 257, "body": "b" * 65_537},
        {"address": "a", "body": "b", "date": [], "sim_slot": {}, "id": True},
        "not an object",
    ]
    assert locs(org.store(*faulty)) == [
        ["messages", 1, "address"],
        ["messages", 2, "body"],
        ["messages", 3, "address"],
        ["messages", 3, "body"],
        ["messages", 4, "date"],
        ["messages", 4, "sim_slot"],
        ["messages", 4, "id"],
        ["messages", 5],
    ]
    assert org.read() == []


def test_5000_messages_are_taken_and_one_more_is_not(org: Org) -> None:
    assert locs(org.store(*[{"address": "a", "body": "b"}] * 5001)) == [["messages"]]
    assert org.read() == []
    assert org.store(*[{"address": "a", "body": "b"}] * 5000).json()["stored"] == 5000
    assert len(org.read(limit=1000, since_id=4500)) == 500


def test_messages_must_be_there(org: Org) -> None:
    answer = org.agent.post("/webhook", json={"org_id": org.id})
    assert locs(answer) == [["messages"]]


def test_a_retry_is_counted_and_not_stored_again(org: Org) -> None:
    sms = org.sms(id=7, date=5)
    assert [org.store(sms, sms).json()["stored"], org.store(sms).json()["stored"]] == [2, 1]
    assert len(org.read()) == 1


@pytest.mark.parametrize("other", [{"body": "another"}, {"date": 6}, {"address": "5"}, {"id": 8}])
def test_an_id_that_is_used_for_another_sms_folds_nothing(org: Org, other: Any) -> None:
    sms = org.sms(id=7, date=5)
    org.store(sms, {**sms, **other})
    assert len(org.read()) == 2


def test_without_an_id_nothing_is_folded(org: Org) -> None:
    sms = org.sms(date=5)
    org.store(sms, sms)
    org.store(sms)
    assert len(org.read()) == 3


def test_the_number_of_a_slot_is_filled_in_where_the_org_has_one_such_sim(org: Org) -> None:
    one, other = canaries.number(), canaries.number()
    with org.phone({"slot": 0, "number": one}, {"slot": 1, "number": other}):
        pass
    org.store(org.sms(sim_slot=1), org.sms(sim_slot=2), org.sms(sim_slot=0, sim_number=other))
    assert [row["sim_number"] for row in org.read()] == [other, None, other]
    with org.phone({"slot": 1, "number": canaries.number()}):
        pass
    org.store(org.sms(sim_slot=1))
    assert org.read()[-1]["sim_number"] is None


# -- /messages --


@pytest.fixture
def letters(org: Org) -> list[int]:
    """Seven SMS, of which the even ones came to slot 0 of a known number."""
    number = canaries.number()
    org.store(
        *[
            {"address": f"+4917012345{n}0", "body": str(n), "sim_slot": n % 2}
            | ({"sim_number": number} if n % 2 == 0 else {})
            for n in range(7)
        ]
    )
    return [row["id"] for row in org.read()]


def test_messages_ascend_and_since_id_walks_them(org: Org, letters: list[int]) -> None:
    assert letters == sorted(letters)
    seen, since = [], 0
    while page := org.read(limit=3, since_id=since):
        assert len(page) <= 3
        seen += [row["id"] for row in page]
        since = seen[-1]
    assert seen == letters


def test_the_default_limit_is_100(org: Org) -> None:
    org.store(*[{"address": "a", "body": "b"}] * 120)
    assert len(org.read()) == 100
    assert len(org.read(limit=1000)) == 120


def test_desc_with_before_id_walks_the_other_way(org: Org, letters: list[int]) -> None:
    newest = [row["id"] for row in org.read(order="desc", limit=3)]
    assert newest == letters[:-4:-1]
    older = [row["id"] for row in org.read(order="desc", before_id=newest[-1], limit=2)]
    assert older == letters[3:1:-1]


def test_direction_status_and_address_narrow_the_list(org: Org, letters: list[int]) -> None:
    ticket = org.ticket(to="+4917012345 30")
    assert [row["id"] for row in org.read(direction="out")] == [ticket]
    assert [row["id"] for row in org.read(direction="in")] == letters
    assert [row["id"] for row in org.read(status="queued")] == [ticket]
    assert [row["id"] for row in org.read(status="received", limit=2)] == letters[:2]
    assert [row["id"] for row in org.read(address="4917012345-30")] == [letters[3], ticket]
    assert org.read(address="4917") == []


def test_sim_is_a_slot_or_a_number_in_any_spelling(org: Org, letters: list[int]) -> None:
    number = org.read()[0]["sim_number"]
    digits = number[1:]
    for spelt in (number, digits, f" {digits}", f"{digits[:4]}-{digits[4:]}", f"({digits})"):
        assert [row["body"] for row in org.read(sim=spelt)] == ["0", "2", "4", "6"]
    raw = org.agent.get(f"/messages/{org.id}?sim=+{digits}")
    assert raw.json()["count"] == 4
    assert [row["body"] for row in org.read(sim="1")] == ["1", "3", "5"]
    assert org.read(sim="15") == org.read(sim=canaries.number()) == []


@pytest.mark.parametrize(
    "asked",
    [
        *("limit=0", "limit=1001", "limit=-1", "limit=ten", "limit=1.5", "limit=", "limit=%00"),
        *("since_id=-1", "since_id=x", f"since_id={BIG}", "before_id=0", "before_id=x"),
        *("direction=up", "direction=", "status=lost", "order=up", "sim=me", "sim=", "address="),
        *("limit=٣", "since_id=%2B5", "limit=1_0", "limit=1e1"),
    ],
)
def test_a_query_out_of_range_is_told_by_name(org: Org, asked: str) -> None:
    assert locs(org.agent.get(f"/messages/{org.id}?{asked}")) == [[asked.partition("=")[0]]]


def test_every_fault_of_a_query_is_listed(org: Org) -> None:
    asked = "limit=0&since_id=x&direction=up&order=up&status=lost&unknown=1"
    found = locs(org.agent.get(f"/messages/{org.id}?{asked}"))
    assert sorted(found) == [["direction"], ["limit"], ["order"], ["since_id"], ["status"]]


def test_path_and_header_form_answer_the_same(org: Org, letters: list[int]) -> None:
    del org.agent.headers["X-Secret-Key"]
    assert org.agent.get(f"/messages/{org.path_form}?limit=7").json()["count"] == 7
    assert org.agent.get(f"/sims/{org.path_form}").json()["live_sims"] == []


# -- /send --


def test_a_ticket_without_a_phone_is_queued(org: Org) -> None:
    to, body = canaries.number(), canaries.text()
    answer = org.post(to=f"{to[:5]} ({to[5:8]}) {to[8:]}", body=body, sim="+1 (555) 000").json()

    (result,) = answer.pop("results")
    assert answer == {"ok": True, "device_online": False, "queued": 1}
    assert result["status"] == "queued"
    assert result["to"] == f"{to[:5]} ({to[5:8]}) {to[8:]}"
    row = org.row(result["id"])
    assert set(row) == OUTBOUND
    assert row.pop("created_at").endswith("+00:00")
    assert row == {
        **{"id": result["id"], "direction": "out", "address": to, "body": body},
        **{"sim_slot": None, "sim_number": "+1 (555) 000", "status": "queued"},
        **{"device_ts": None, "sent_at": None, "attempts": 0, "error": None, "error_detail": None},
    }


def test_many_are_sent_at_once_each_with_its_own_sim(org: Org) -> None:
    drafts = [{"to": canaries.number(), "body": canaries.text()} for _ in range(3)]
    drafts[1]["sim"] = "3"
    answer = org.send(messages=drafts, sim=5)
    assert answer["queued"] == 3
    assert [result["to"] for result in answer["results"]] == [draft["to"] for draft in drafts]
    rows = org.read(direction="out")
    assert [row["id"] for row in rows] == [result["id"] for result in answer["results"]]
    assert [row["sim_slot"] for row in rows] == [5, 3, 5]


def test_1000_tickets_are_taken_and_one_more_is_not(org: Org) -> None:
    draft = {"to": "12", "body": "x"}
    assert locs(org.post(messages=[draft] * 1001)) == [["messages"]]
    assert locs(org.post(messages=[])) == [["messages"]]
    assert org.read() == []
    assert org.send(messages=[draft] * 1000)["queued"] == 1000


@pytest.mark.parametrize("to", ["12", "+12345678901234567890", "(030) 12.34-56", "+1 5"])
def test_what_can_be_dialled_is_accepted(org: Org, to: str) -> None:
    answer = org.send(to=to)
    assert answer["results"][0]["to"] == to
    assert org.read()[0]["address"] == re.sub(r"[ .()-]", "", to)


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        *[
            ({"to": to}, ["to"])
            for to in ("1", "+", "", "1" * 21, "++12", "12a", "12\n", "+1+2", 5)
        ],
        *[({"body": b}, ["body"]) for b in ("", "x" * 1601, "nul\0", "half \ud800", 5)],
        *[({"sim": sim}, ["sim"]) for sim in (True, -1, 1.5, [], "", "me")],
        ({"secret_key": 5}, ["secret_key"]),
    ],
)
def test_what_cannot_be_sent_is_told_where(org: Org, fault: Any, where: list[str]) -> None:
    body = {"to": canaries.number(), "body": canaries.text(), **fault}
    answer = org.post(**body)
    if where == ["secret_key"]:  # no secret has this shape
        assert answer.status_code in (400, 401, 422)
    else:
        assert locs(answer) == [where]
    assert org.read() == []


def test_a_body_at_its_limit_is_sent(org: Org) -> None:
    assert org.send(body="é" * 1600)["queued"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"to": "12"},
        {"body": "x"},
        {"to": "12", "body": "x", "messages": [{"to": "12", "body": "x"}]},
        {"to": None, "body": None, "messages": None},
    ],
)
def test_either_one_or_many(org: Org, body: dict[str, Any]) -> None:
    assert locs(org.post(**body)) == [[]]


def test_every_fault_of_a_batch_is_listed_and_nothing_is_stored(org: Org) -> None:
    drafts = [{"to": "12", "body": "x"}, {"to": "x", "body": ""}, {"body": "x"}, 5]
    assert locs(org.post(messages=drafts)) == [
        *(["messages", 1, "to"], ["messages", 1, "body"], ["messages", 2, "to"], ["messages", 3]),
    ]
    assert org.read() == []


# -- /sims --


def test_sims_live_and_known(org: Org) -> None:
    one = {"slot": 0, "number": canaries.number(), "label": "SIM1", "carrier": "AT&T"}
    two = {"slot": 1, "number": None, "label": None, "carrier": None}
    assert org.sims() == {"online_devices": 0, "live_sims": [], "known_sims": []}

    with org.phone(one, two):
        told = org.sims()
        assert (told["online_devices"], told["live_sims"]) == (1, [one, two])
        known = [{k: v for k, v in sim.items() if k != "last_seen"} for sim in told["known_sims"]]
        assert known == [one, two]
        seen = [datetime.fromisoformat(sim["last_seen"]) for sim in told["known_sims"]]
        assert all(at.utcoffset() is not None for at in seen)


def test_the_newest_report_is_first_among_the_known_sims(org: Org) -> None:
    numbers = [canaries.number() for _ in range(3)]
    with org.phone() as phone:
        for number in [*numbers, numbers[1]]:
            phone.report({"slot": 0, "number": number})
    told = org.sims()
    assert [sim["number"] for sim in told["known_sims"]] == [numbers[1], numbers[2], numbers[0]]


# -- /send under a key --


def keyed(org: Org, key: str, **body: Any) -> Any:
    draft = {"to": canaries.number(), "body": canaries.text(), **body}
    headers = {"Idempotency-Key": key, "X-Secret-Key": org.secret}
    return Agent(org.url).post(f"/send/{org.id}", json=draft, headers=headers)


def test_a_send_that_is_repeated_under_its_key_sends_once(org: Org) -> None:
    draft = {"to": canaries.number(), "body": canaries.text()}
    with org.phone() as phone:
        first = keyed(org, "order-1", **draft)
        (ticket,) = [result["id"] for result in first.json()["results"]]
        assert phone.hear()["id"] == ticket
        phone.confirm(ticket)
        org.settled(ticket)
        again = keyed(org, "order-1", **draft)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert [(one["id"], one["status"]) for one in again.json()["results"]] == [(ticket, "sent")]
        assert "send_sms" not in [frame["type"] for frame in phone.hear_all_before_pong()]
    assert "Idempotent-Replayed" not in first.headers
    assert len(org.read()) == 1


def test_another_body_under_the_same_key_is_a_422(org: Org) -> None:
    assert keyed(org, "order-1").status_code == 200
    assert locs(keyed(org, "order-1")) == [["Idempotency-Key"]]
    assert len(org.read()) == 1


def test_a_key_that_is_none_is_a_422(org: Org) -> None:
    assert locs(keyed(org, "with spaces in it")) == [["Idempotency-Key"]]
    assert org.read() == []
