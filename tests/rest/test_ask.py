"""POST /ask: what is asked of the gateway, what comes back, and a client that does not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from smsd.domain.keys import Key
from smsd.domain.records import Draft
from smsd.gateway.doorman import Caller
from tests.rest.conftest import NOON

if TYPE_CHECKING:
    from tests.rest.conftest import Answer, Browser, Notes, Wire

ME = {"secret_key": "my-secret-key-123"}
QUESTION = {**ME, "to": "+1555", "body": "well?"}
REPLY = (
    b'{"id":6,"direction":"in","address":"+1555","body":"\\u263a","sim_slot":null,'
    b'"sim_number":null,"status":"received","device_ts":null,"created_at":"2026"}'
)


def ask(browser: Browser, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    return browser.ask("POST", "/ask/myorg", json={**QUESTION, **more}, **(headers or {}))


def test_the_reply_is_told_with_the_ticket(browser: Browser, notes: Notes) -> None:
    notes.heard = Deferred()
    notes.heard.callback(REPLY)
    answer = ask(browser, sim=1, wait=5.5).json()
    assert (answer["ok"], answer["ticket"]["id"]) == (True, 5)
    assert answer["reply"] == {
        "id": 6,
        "direction": "in",
        "address": "+1555",
        "body": "\u263a",
        "sim_slot": None,
        "sim_number": None,
        "status": "received",
        "device_ts": None,
        "created_at": "2026",
    }
    assert notes.accepted == [(Caller("myorg"), [Draft(to="+1555", body="well?", sim=1)])]
    assert notes.listened == [5.5]


def test_without_a_reply_it_is_null_and_the_wait_is_a_minute(
    browser: Browser, notes: Notes
) -> None:
    answer = ask(browser)
    assert (answer.status, answer.json()["reply"], notes.listened) == (200, None, [60])
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize(
    ("more", "loc"),
    [
        ({"wait": 61}, "wait"),
        ({"wait": -1}, "wait"),
        ({"wait": "5"}, "wait"),
        ({"wait": None}, "wait"),
        ({"to": "nobody"}, "to"),
        ({"body": ""}, "body"),
        ({"sim": "abc"}, "sim"),
        ({"send_at": "2026-01-31T12:00:00+01:00"}, "send_at"),
        ({"send_at": "soon"}, "send_at"),
        ({"ttl": 0}, "ttl"),
        ({"expires_at": "2026-01-31"}, "expires_at"),
        ({"priority": 11}, "priority"),
        ({"receipt": "yes"}, "receipt"),
        ({"dry_run": True}, "dry_run"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_and_nothing_sent(
    browser: Browser, notes: Notes, more: dict[str, Any], loc: str
) -> None:
    answer = ask(browser, **more)
    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [[loc]]
    assert notes.accepted == []


def test_what_send_may_say_of_an_sms_is_said_of_a_question_too(
    browser: Browser, notes: Notes
) -> None:
    assert ask(browser, ttl=300, priority=-3, receipt=True, send_at=None).status == 200
    assert ask(browser, expires_at="2026-01-31T13:00:00+01:00").status == 200
    plain = Draft(to="+1555", body="well?")
    assert [drafts for _, drafts in notes.accepted] == [
        [replace(plain, ttl=300, priority=-3, receipt=True)],
        [replace(plain, expires_at=NOON)],
    ]


def test_a_question_has_one_lifetime_and_is_sent_at_once(browser: Browser, notes: Notes) -> None:
    answer = ask(browser, ttl=300, expires_at="2026-01-31T13:00:00+01:00")
    assert answer.json()["errors"] == [
        {"loc": [], "msg": "give either ttl or expires_at, not both"}
    ]
    (fault,) = ask(browser, send_at="2026-01-31T12:00:00Z").json()["errors"]
    assert "schedule an SMS with POST /send" in fault["msg"]
    assert notes.accepted == []


def test_one_sms_is_asked_and_not_several(browser: Browser, notes: Notes) -> None:
    several = {**ME, "messages": [{"to": "+1555", "body": "well?"}]}
    answer = browser.ask("POST", "/ask/myorg", json=several)
    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [["to"], ["body"]]


@pytest.mark.parametrize("scopes", [("send",), ("read",), ()], ids=["send", "read", "none"])
def test_a_key_must_be_good_for_sending_and_reading(
    browser: Browser, notes: Notes, scopes: tuple[Any, ...]
) -> None:
    notes.keys["smsd_one"] = Key("myorg", "1", scopes)
    notes.keys["smsd_both"] = Key("myorg", "2", ("read", "send"))
    asked = {"to": "+1555", "body": "well?"}
    answer = browser.ask("POST", "/ask/myorg", json=asked, Authorization="Bearer smsd_one")
    assert (answer.status, notes.accepted) == (403, [])
    answer = browser.ask("POST", "/ask/myorg", json=asked, Authorization="Bearer smsd_both")
    assert answer.status == 200


def test_the_same_call_under_a_key_is_the_same_however_long_it_waits(
    browser: Browser, notes: Notes
) -> None:
    key = {"Idempotency_Key": "one"}
    first, again = ask(browser, headers=key), ask(browser, headers=key, wait=1)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    ask(browser, headers=key, body="and now?")
    browser.ask("POST", "/send/myorg", json=QUESTION, **key)
    assert len({named.fingerprint for named in notes.named}) == 3
    ask(browser, headers=key, ttl=300)
    ask(browser, headers=key, ttl=None, receipt=None)
    assert len({named.fingerprint for named in notes.named}) == 4


def test_while_the_first_call_waits_the_next_is_a_409(browser: Browser, notes: Notes) -> None:
    notes.heard = Deferred()
    first = browser.wire()
    first.ask("POST", "/ask/myorg", json=QUESTION, Idempotency_Key="one")
    answer = ask(browser, headers={"Idempotency_Key": "one"})
    assert (answer.status, answer.headers["retry-after"]) == (409, "5")
    assert answer.json()["type"] == "urn:smsd:problem:still_asking"
    notes.heard.callback(REPLY)
    assert first.answer("POST").status == 200
    assert ask(browser, headers={"Idempotency_Key": "one"}).status == 200


def test_a_client_that_hangs_up_waits_no_more_and_its_question_is_sent(
    wire: Wire, notes: Notes, browser: Browser
) -> None:
    gone: list[Any] = []
    notes.heard = Deferred(gone.append)
    wire.ask("POST", "/ask/myorg", json=QUESTION)
    wire.socket.lost()
    assert (len(notes.accepted), len(gone)) == (1, 1)
    notes.heard = None
    assert ask(browser).status == 200


def test_a_client_that_hangs_up_before_its_question_is_sent_does_not_stop_it(
    wire: Wire, notes: Notes
) -> None:
    admitted: Deferred[None] = Deferred()
    notes.before = lambda: admitted
    wire.ask("POST", "/ask/myorg", json=QUESTION)
    wire.socket.lost()
    admitted.callback(None)
    assert (len(notes.accepted), notes.listened) == (1, [])


def test_a_question_is_not_sent_by_who_only_wanted_to_see_what_would_happen(
    browser: Browser, notes: Notes
) -> None:
    answer = ask(browser, dry_run=True)
    (fault,) = answer.json()["errors"]
    assert (answer.status, fault["loc"], notes.accepted) == (422, ["dry_run"], [])
    assert "POST /send" in fault["msg"]
    assert ask(browser, dry_run=False).status == 200
