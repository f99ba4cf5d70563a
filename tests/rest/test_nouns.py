"""Webhook, messages, send, sims: what is passed to the gateway, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smsd.domain.query import MessageQuery
from smsd.domain.records import Draft
from smsd.gateway.doorman import Newcomer

if TYPE_CHECKING:
    from tests.rest.conftest import Answer, Browser, Notes

ME = {"org_id": "myorg", "secret_key": "my-secret-key-123"}
FRESH = {"org_id": "fresh", "secret_key": "a-fresh-secret-1"}
SMS = {"address": "+15551234567", "body": "hello"}


def webhook(browser: Browser, *messages: Any, **fields: Any) -> Answer:
    return browser.ask("POST", "/webhook", json={**ME, "messages": messages, **fields})


def send(browser: Browser, **fields: Any) -> Answer:
    return browser.ask("POST", "/send/myorg", json={**ME, **fields})


def read(browser: Browser, query: str) -> Answer:
    return browser.ask("GET", f"/messages/myorg?{query}", X_Secret_Key=ME["secret_key"])


# ---- webhook ----


def test_received_sms_are_stored(browser: Browser, notes: Notes) -> None:
    answer = webhook(browser, SMS, {**SMS, "date": 1700000000000, "sim_slot": 0, "id": "123"})
    assert answer.json() == {"ok": True, "org_id": "myorg", "stored": 2}
    ((_, (plain, full)),) = notes.stored
    assert (plain.address, plain.body) == ("+15551234567", "hello")
    assert (full.device_ts, full.slot, full.id) == (1700000000000, 0, "123")


def test_no_messages_check_the_secret_and_store_nothing(browser: Browser) -> None:
    assert webhook(browser).json() == {"ok": True, "org_id": "myorg", "stored": 0}


def test_5000_messages_are_taken_and_one_more_is_not(browser: Browser, notes: Notes) -> None:
    few = {"address": "1", "body": ""}
    assert webhook(browser, *[few] * 5000).json()["stored"] == 5000
    answer = webhook(browser, *[few] * 5001)
    assert answer.status == 422
    assert answer.json()["errors"] == [
        {"loc": ["messages"], "msg": "must be a list of at most 5000 messages"}
    ]
    assert len(notes.stored) == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"address": None, "body": None},
        {"date": -1, "sim_slot": -1},
        {"date": 10**30, "sim_slot": 99, "id": 10**300},
        {"date": "1700000000000", "sim_slot": "0"},
        {"date": 1700000000000.0, "sim_slot": 0.0, "id": 5.0},
        {"date": "yesterday", "sim_number": "no number"},
        {"body": "a\0b\ud800c"},
        {"body": "x" * 65_536, "address": "x" * 256},
        {"unknown": {"deep": [1]}},
    ],
)
def test_an_sms_is_never_refused_for_its_value(
    browser: Browser, notes: Notes, odd: dict[str, Any]
) -> None:
    assert webhook(browser, {**SMS, **odd}).status == 200


def test_an_integer_of_thousands_of_digits_is_no_error(browser: Browser) -> None:
    body = b'{"org_id":"myorg","secret_key":"my-secret-key-123","messages":[{"address":"1",'
    body += b'"body":"x","date":' + b"9" * 5000 + b',"id":1e400}]}'
    assert browser.ask("POST", "/webhook", body=body).status == 200


def test_half_a_character_becomes_a_whole_one(browser: Browser, notes: Notes) -> None:
    webhook(browser, {**SMS, "body": "a\ud83d"})
    assert notes.stored[0][1][0].body == "a\ufffd"


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"address": 5}, "address"),
        ({"body": ["x"]}, "body"),
        ({"body": "x" * 65_537}, "body"),
        ({"address": "x" * 257}, "address"),
        ({"date": True}, "date"),
        ({"sim_slot": {}}, "sim_slot"),
        ({"sim_number": 15551234567}, "sim_number"),
        ({"id": [1]}, "id"),
    ],
)
def test_a_wrong_json_type_or_a_size_is_told(
    browser: Browser, notes: Notes, wrong: dict[str, Any], place: str
) -> None:
    answer = webhook(browser, SMS, {**SMS, **wrong})
    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [["messages", 1, place]]
    assert notes.stored == []


def test_an_unknown_org_is_claimed_with_its_messages(browser: Browser, notes: Notes) -> None:
    answer = webhook(browser, SMS, **FRESH, claim_token="token")
    assert answer.json() == {"ok": True, "org_id": "fresh", "stored": 1}
    assert isinstance(notes.stored[0][0], Newcomer)
    assert notes.attempts[0][3] == "token"


def test_a_claim_token_may_be_a_header(browser: Browser, notes: Notes) -> None:
    browser.ask("POST", "/webhook", json={**FRESH, "messages": []}, X_Claim_Token="token")
    assert notes.attempts[0][3] == "token"


def test_a_faulty_body_claims_nothing(browser: Browser, notes: Notes) -> None:
    assert webhook(browser, {"address": "1"}, **FRESH).status == 422
    assert notes.stored == []


def test_a_claim_with_a_wrong_shape_is_told_what_is_wrong(browser: Browser) -> None:
    answer = webhook(browser, org_id="x", secret_key="short")
    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [["org_id"], ["secret_key"]]


# ---- send ----


def test_one_sms_is_sent(browser: Browser, notes: Notes) -> None:
    answer = send(browser, to="+1 (555) 333-4444", body="hi", sim="+1555")
    assert answer.json() == {
        "ok": True,
        "device_online": True,
        "queued": 1,
        "results": [{"id": 5, "to": "+1 (555) 333-4444", "status": "sending"}],
    }
    assert notes.accepted[0][1] == [Draft(to="+1 (555) 333-4444", body="hi", sim="+1555")]


def test_a_dry_run_tells_what_would_happen_and_hands_nothing_over(
    browser: Browser, notes: Notes
) -> None:
    answer = send(browser, to="+1 555", body="5 € – ok", dry_run=True)
    waits = {"online": False, "device_id": None, "sim_slot": None, "sim_number": "+1555"}
    assert answer.json() == {
        "ok": True,
        "device_online": False,
        "queued": 0,
        "results": [
            {
                "to": "+1 555",
                "status": "queued",
                "encoding": "ucs2",
                "segments": 1,
                "forced_by": "–",
                "waiting_for": waits,
            }
        ],
        "dry_run": True,
    }
    assert notes.accepted == []


def test_whoever_names_the_field_hears_more_of_each_ticket(browser: Browser, notes: Notes) -> None:
    answer = send(browser, to="+1555", body="a" * 161, dry_run=False)
    taken = {"online": True, "device_id": "pixel", "sim_slot": 0, "sim_number": None}
    assert answer.json()["results"] == [
        {
            "id": 5,
            "to": "+1555",
            "status": "sending",
            "encoding": "gsm7",
            "segments": 2,
            "taken_by": taken,
        }
    ]
    assert len(notes.accepted) == 1


def test_a_dry_run_is_asked_for_by_true_or_false(browser: Browser, notes: Notes) -> None:
    answer = send(browser, to="+1555", body="a", dry_run="yes")
    assert answer.status == 422
    (fault,) = answer.json()["errors"]
    assert fault == {
        "loc": ["dry_run"],
        "msg": "must be true (tell, and store nothing) or false",
    }


def test_what_is_said_for_all_holds_for_whoever_says_nothing_else(
    browser: Browser, notes: Notes
) -> None:
    at, until = "2026-01-31T12:00:00+01:00", "2026-02-01T00:00:00Z"
    plain = {"to": "+1555", "body": "a"}
    own = {**plain, "send_at": "2026-01-31T11:00:00Z", "priority": 0, "expires_at": until}
    answer = send(
        browser, send_at=at, ttl=60, priority=5, messages=[plain, own, {**plain, "ttl": 9}]
    )
    assert answer.status == 200
    one, two, three = notes.accepted[0][1]
    assert one.send_at == two.send_at == three.send_at
    assert [(each.priority, each.ttl) for each in (one, two, three)] == [(5, 60), (0, None), (5, 9)]
    assert [each.expires_at is None for each in (one, two, three)] == [True, False, True]
    assert all("segments" in each for each in answer.json()["results"])


def test_one_timed_message_of_many_asks_for_more_of_all(browser: Browser) -> None:
    plain = {"to": "+1555", "body": "a"}
    answer = send(browser, messages=[plain, {**plain, "priority": 1}])
    assert ["segments" in each for each in answer.json()["results"]] == [True, True]


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("send_at", "2026-01-31T12:00:00", "must be a time with its offset"),
        ("send_at", "tomorrow", "must be a time with its offset"),
        ("send_at", 1700000000, "must be a time with its offset"),
        ("expires_at", "2026-01-31T12:00:00", "must be a time with its offset"),
        ("ttl", 0, "must be a number of seconds from 1 to 2,592,000"),
        ("ttl", 2_592_001, "must be a number of seconds from 1 to 2,592,000"),
        ("ttl", "60", "must be a number of seconds from 1 to 2,592,000"),
        ("receipt", "yes", "must be true (ask for a delivery report), false or null"),
        ("priority", 11, "must be a whole number from -10 to 10"),
        ("priority", -11, "must be a whole number from -10 to 10"),
    ],
)
def test_a_time_or_a_priority_that_is_none_is_told_what_would_be_right(
    browser: Browser, notes: Notes, field: str, value: Any, right: str
) -> None:
    plain = {"to": "+1555", "body": "a"}
    for body, where in (
        ({**plain, field: value}, [field]),
        ({"messages": [plain, {**plain, field: value}]}, ["messages", 1, field]),
    ):
        answer = send(browser, **body)
        assert answer.status == 422
        (fault,) = answer.json()["errors"]
        assert fault["loc"] == where
        assert fault["msg"].startswith(right)
    assert notes.accepted == []


def test_a_lifetime_is_given_in_one_way(browser: Browser) -> None:
    both = {"to": "+1555", "body": "a", "ttl": 5, "expires_at": "2026-01-31T12:00:00Z"}
    for body, where in ((both, []), ({"messages": [both]}, ["messages", 0])):
        answer = send(browser, **body)
        assert answer.status == 422
        fault = {"loc": where, "msg": "give either ttl or expires_at, not both"}
        assert answer.json()["errors"] == [fault]


def keyed(browser: Browser, key: str, **fields: Any) -> Answer:
    return browser.ask("POST", "/send/myorg", json={**ME, **fields}, Idempotency_Key=key)


def test_a_repeated_key_is_told_and_the_first_answer_has_no_word_of_it(
    browser: Browser, notes: Notes
) -> None:
    first = keyed(browser, "one", to="+1555", body="a")
    again = keyed(browser, "one", to="+1555", body="a")
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json()["results"] == [{"id": 5, "to": "+1555", "status": "sending"}]
    assert again.json()["results"] == [{"id": 5, "to": "+1555", "status": "sent"}]
    assert len(notes.accepted) == 1


def test_a_dry_run_needs_no_key_and_leaves_it_free(browser: Browser, notes: Notes) -> None:
    assert keyed(browser, "one", to="+1555", body="a", dry_run=True).json()["queued"] == 0
    assert notes.named == []


@pytest.mark.parametrize(
    "key",
    ["", "two words", "k" * 256, "\xe9"],
    ids=["empty", "a space", "256 characters", "not ASCII"],
)
def test_a_key_is_1_to_255_visible_characters(browser: Browser, notes: Notes, key: str) -> None:
    answer = keyed(browser, key, to="+1555", body="a")
    assert answer.status == 422
    right = "must be 1 to 255 visible ASCII characters"
    assert answer.json()["errors"] == [{"loc": ["Idempotency-Key"], "msg": right}]
    assert notes.accepted == []
    assert keyed(browser, "k" * 255, to="+1555", body="a").status == 200


def test_a_plain_answer_is_byte_for_byte_what_it_was(browser: Browser) -> None:
    assert send(browser, to="+1555", body="a").body == (
        b'{"ok":true,"device_online":true,"queued":1,'
        b'"results":[{"id":5,"to":"+1555","status":"sending"}]}'
    )


def test_many_sms_are_sent_each_with_its_own_sim_or_that_of_the_body(
    browser: Browser, notes: Notes
) -> None:
    one, two = {"to": "+15550001", "body": "a"}, {"to": "+15550002", "body": "b", "sim": "7"}
    answer = send(browser, sim=1, messages=[one, two])
    assert [each["id"] for each in answer.json()["results"]] == [5, 6]
    assert [draft.sim for draft in notes.accepted[0][1]] == [1, "7"]


@pytest.mark.parametrize("sim", [None, 0, 15, 16, 15551234567, 3.0, "0", "+1555", " 1555"])
def test_a_sim_may_be_a_slot_or_a_number(browser: Browser, sim: Any) -> None:
    assert send(browser, to="+155", body="x", sim=sim).status == 200


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, "nothing to send: give to and body, or messages"),
        ({"to": "+155"}, "body is missing beside to"),
        ({"body": "x"}, "to is missing beside body"),
        ({"to": "+155", "body": None}, "body is missing beside to"),
        (
            {"to": "+155", "body": "x", "messages": [{"to": "+155", "body": "x"}]},
            "send either to and body, or messages, not both",
        ),
    ],
)
def test_either_one_or_many(
    browser: Browser, notes: Notes, wrong: dict[str, Any], told: str
) -> None:
    answer = send(browser, **wrong)
    assert answer.status == 422
    assert answer.json()["errors"] == [{"loc": [], "msg": told}]
    assert notes.accepted == []


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"to": "5"}, ["to"]),
        ({"to": "1" * 21}, ["to"]),
        ({"to": "+1555x"}, ["to"]),
        ({"to": "+1555\n"}, ["to"]),
        ({"to": "١٢٣"}, ["to"]),
        ({"to": 15551234567}, ["to"]),
        ({"body": ""}, ["body"]),
        ({"body": "x" * 1601}, ["body"]),
        ({"body": "a\0b"}, ["body"]),
        ({"body": "a\ud800b"}, ["body"]),
        ({"sim": True}, ["sim"]),
        ({"sim": -1}, ["sim"]),
        ({"sim": "none"}, ["sim"]),
        ({"sim": 1e400}, ["sim"]),
        ({"to": None, "body": None, "messages": []}, ["messages"]),
        ({"to": None, "body": None, "messages": {}}, ["messages"]),
    ],
)
def test_what_cannot_be_sent_is_told(
    browser: Browser, notes: Notes, wrong: dict[str, Any], place: list[str]
) -> None:
    fields = {"to": "+15553334444", "body": "x", **wrong}
    raw = browser.raw("POST", "/send/myorg", json={**ME, **fields})
    wire = browser.wire()
    wire.send(raw.replace(b"Infinity", b" 1e99999"))
    answer = wire.answer()
    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [place]
    assert notes.accepted == []


def test_1000_sms_are_taken_and_one_more_is_not(browser: Browser) -> None:
    one = {"to": "+155", "body": "x"}
    assert send(browser, messages=[one] * 1000).json()["queued"] == 1000
    assert send(browser, messages=[one] * 1001).status == 422


def test_of_a_key_that_comes_twice_the_last_one_counts(browser: Browser, notes: Notes) -> None:
    body = b'{"secret_key":"my-secret-key-123","to":"+155","body":"a","body":"b"}'
    browser.ask("POST", "/send/myorg", body=body)
    assert notes.accepted[0][1][0].body == "b"


# ---- messages ----


def test_the_answer_of_the_database_is_passed_through(browser: Browser) -> None:
    answer = read(browser, "")
    assert answer.body == b'{"org_id":"myorg","count":0,"messages":[]}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("", {}),
        ("limit=1&since_id=0", {"limit": 1}),
        ("limit=1000&since_id=9223372036854775807", {"limit": 1000, "since_id": 2**63 - 1}),
        ("order=desc&before_id=7", {"order": "desc", "before_id": 7}),
        ("direction=out&status=failed", {"direction": "out", "status": "failed"}),
        ("sim=0", {"sim": "0"}),
        ("sim=+1555", {"sim": " 1555"}),
        ("sim=%2B1555", {"sim": "+1555"}),
        ("address=ACME%20Bank", {"address": "ACME Bank"}),
        ("address=M%C3%BCller&&&", {"address": "Müller"}),
        ("limit=5&limit=7", {"limit": 7}),
        ("wait=0", {"wait": 0}),
        ("wait=0.0&wait=-0", {}),
        ("unknown=1&%ff=%fe&=x&limit", None),
        ("unknown=1&%ff=%fe&=x&", {}),
    ],
)
def test_a_query_is_read_by_its_type(
    browser: Browser, notes: Notes, query: str, meant: dict[str, Any] | None
) -> None:
    answer = read(browser, query)
    if meant is None:
        assert answer.status == 422
    else:
        assert answer.status == 200
        assert notes.read[0][1] == MessageQuery(**meant)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=",
        "limit=ten",
        "limit=1e2",
        "limit=5.0",
        "limit=+5",
        "limit=%205",
        "limit=٣",
        "limit=" + "9" * 5000,
        "since_id=-1",
        "since_id=9223372036854775808",
        "before_id=0",
        "before_id=null",
        "order=up",
        "direction=",
        "direction=null",
        "sim=abc",
        "sim=" + "1" * 65,
        "address=",
        "address=a%00b",
        "address=%ff",
        "address=" + "a" * 257,
        "status=done",
        "wait=-1",
        "wait=60.1",
        "wait=61",
        "wait=",
        "wait=.5",
        "wait=5.",
        "wait=1e999",
        "wait=6e1.0",
        "wait=0x5",
        "wait=nan",
        "wait=inf",
        "wait=5s",
        "wait=٣",
        "wait=" + "9" * 5000,
    ],
)
def test_a_value_out_of_range_is_told(browser: Browser, notes: Notes, query: str) -> None:
    answer = read(browser, query.replace("٣", "%D9%A3"))
    assert answer.status == 422
    (fault,) = answer.json()["errors"]
    assert fault["loc"] == [query.partition("=")[0]]
    assert fault["msg"].startswith(("must be ", "holds "))
    assert notes.read == notes.waited == []


def test_every_fault_of_a_query_is_listed(browser: Browser) -> None:
    faults = read(browser, "limit=0&since_id=x&order=up&status=5").json()["errors"]
    assert [fault["loc"] for fault in faults] == [["limit"], ["since_id"], ["order"], ["status"]]


# ---- sims ----


def test_the_sims_of_an_org_are_listed(browser: Browser) -> None:
    answer = browser.ask("GET", "/sims/myorg", X_Secret_Key=ME["secret_key"])
    assert answer.json() == {"online_devices": 0, "live_sims": [], "known_sims": []}


# ---- tickets ----


def test_one_ticket_is_shown_with_its_history(browser: Browser) -> None:
    answer = browser.ask("GET", "/tickets/myorg/5", X_Secret_Key=ME["secret_key"])
    assert answer.json()["history"] == [{"what": "accepted", "at": "2026-01-31T12:00:00+00:00"}]
    assert (answer.json()["status"], answer.json()["device_id"]) == ("sent", "pixel")


@pytest.mark.parametrize("id_", ["6", "0", "-5", "05", "five", "9" * 30, "%D9%A5"])
def test_a_ticket_that_is_not_there_is_a_404(browser: Browser, id_: str) -> None:
    answer = browser.ask("GET", f"/tickets/myorg/{id_}", X_Secret_Key=ME["secret_key"])
    assert answer.status == 404
    assert answer.json()["detail"] == "This org has no ticket with this id."
