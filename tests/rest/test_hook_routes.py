"""Webhooks over HTTP: what is passed to the gateway, what is refused, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

from smsd.domain.errors import EventsGone
from smsd.domain.happenings import TYPES
from smsd.outward.attempt import Attempt
from smsd.store.hooks import HookChange, NewHook

if TYPE_CHECKING:
    from tests.rest.conftest import Answer, Browser

SECRET = {"X_Secret_Key": "my-secret-key-123"}
URL = "https://app.example.com/sms"
HOOK = "/hooks/myorg/7c1e0b94a2f8"


def noted(browser: Browser) -> list[tuple[Any, ...]]:
    hooks: Any = browser.site.resource._services.hooks
    asked: list[tuple[Any, ...]] = hooks.asked
    return asked


def faults(answer: Answer) -> list[Any]:
    assert answer.status == 422
    return [fault["loc"] for fault in answer.json()["errors"]]


def test_a_hook_is_made_as_it_is_asked_for_and_its_secret_shown(browser: Browser) -> None:
    body = {
        "url": URL,
        "types": ["ticket.sent", "message.received", "ticket.sent"],
        "direction": "in",
        "address": "+1555",
        "sim": 3,
    }
    answer = browser.ask("POST", "/hooks/myorg", json=body, **SECRET)
    assert (answer.status, answer.json()["secret"]) == (200, "whsec_new")
    assert noted(browser)[-1][2] == NewHook(
        url=URL,
        types=("message.received", "ticket.sent"),
        direction="in",
        address="+1555",
        sim=3,
    )


def test_a_url_alone_makes_a_hook_for_everything(browser: Browser) -> None:
    assert browser.ask("POST", "/hooks/myorg", json={"url": URL}, **SECRET).status == 200
    assert noted(browser)[-1][2] == NewHook(url=URL)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["url"]),
        ({"url": None}, ["url"]),
        ({"url": ""}, ["url"]),
        ({"url": "https://" + "x" * 2000}, ["url"]),
        ({"url": URL, "types": ["nothing.such"]}, ["types"]),
        ({"url": URL, "types": ["ticket.sent\n"]}, ["types"]),
        ({"url": URL, "types": "ticket.sent"}, ["types"]),
        ({"url": URL, "types": None}, ["types"]),
        ({"url": URL, "direction": "up"}, ["direction"]),
        ({"url": URL, "address": ""}, ["address"]),
        ({"url": URL, "sim": "none"}, ["sim"]),
        ({"url": URL, "enabled": 1}, ["enabled"]),
    ],
)
def test_what_no_hook_can_be_is_a_422_with_its_place(
    browser: Browser, body: dict[str, Any], loc: list[str]
) -> None:
    assert faults(browser.ask("POST", "/hooks/myorg", json=body, **SECRET)) == [loc]


def test_an_unknown_type_is_told_which_types_there_are(browser: Browser) -> None:
    answer = browser.ask("POST", "/hooks/myorg", json={"url": URL, "types": ["sms"]}, **SECRET)
    (fault,) = answer.json()["errors"]
    assert [kind for kind in TYPES if kind not in fault["msg"]] == []


def test_digits_in_quotes_are_told_that_a_cursor_is_a_number(browser: Browser) -> None:
    answer = browser.ask("POST", f"{HOOK}/replay", json={"since": "41"}, **SECRET)
    (fault,) = answer.json()["errors"]
    assert (fault["loc"], "a whole number" in fault["msg"]) == (["since"], True)


def test_only_what_is_named_is_changed(browser: Browser) -> None:
    answer = browser.ask("PATCH", HOOK, json={"address": None, "types": []}, **SECRET)
    assert answer.status == 200
    assert "secret" not in answer.json()
    assert noted(browser)[-1][3] == HookChange(types=(), address=None)
    browser.ask("PATCH", HOOK, json={"enabled": True, "sim": 0}, **SECRET)
    told = noted(browser)[-1][3]
    assert (told.enabled, told.sim, told.url, told.types) == (True, 0, None, None)
    assert (told.address, told.direction) == (UNSET, UNSET)


@pytest.mark.parametrize("name", ["url", "types", "enabled"])
def test_what_a_hook_must_have_cannot_be_taken_away(browser: Browser, name: str) -> None:
    assert faults(browser.ask("PATCH", HOOK, json={name: None}, **SECRET)) == [[name]]


def test_every_fault_of_a_change_is_listed(browser: Browser) -> None:
    body = {"direction": "up", "sim": "none", "url": 5}
    assert faults(browser.ask("PATCH", HOOK, json=body, **SECRET)) == [
        ["url"],
        ["direction"],
        ["sim"],
    ]


def test_hooks_are_listed_and_shown_without_a_secret(browser: Browser) -> None:
    listed = browser.ask("GET", "/hooks/myorg", **SECRET).json()
    shown = browser.ask("GET", HOOK, **SECRET).json()
    assert (listed["count"], listed["hooks"][0]["id"]) == (1, shown["id"])
    assert (shown["tries"], shown["behind"], shown["cursor"]) == (2, 3, 41)
    assert "secret" not in shown
    assert "secret" not in listed["hooks"][0]


def test_deliveries_are_paged(browser: Browser) -> None:
    answer = browser.ask("GET", f"{HOOK}/deliveries?limit=5&before_id=9", **SECRET).json()
    assert answer["count"] == 1
    assert answer["deliveries"][0] == {
        "id": 7,
        "event_id": 42,
        "attempt": 2,
        "at": "2026-01-31T12:00:00+00:00",
        "status": None,
        "error": "time_out",
        "ms": 15000,
        "answer": "",
    }
    assert noted(browser)[-1][2:] == ("7c1e0b94a2f8", 9, 5)
    for query in ("limit=0", "limit=101", "before_id=0", "before_id=x"):
        faults(browser.ask("GET", f"{HOOK}/deliveries?{query}", **SECRET))


@pytest.mark.parametrize("body", [None, {}], ids=str)
def test_a_test_needs_no_body_and_tells_what_came_of_it(browser: Browser, body: Any) -> None:
    hooks: Any = browser.site.resource._services.hooks
    hooks.attempt = Attempt(status=503, ms=7, answer="no")
    answer = browser.ask("POST", f"{HOOK}/test", json=body, **SECRET)
    assert answer.json() == {
        "ok": False,
        "org_id": "myorg",
        "id": "7c1e0b94a2f8",
        "status": 503,
        "error": None,
        "ms": 7,
        "answer": "no",
    }


def test_a_secret_changes_within_a_day_unless_it_is_said_otherwise(browser: Browser) -> None:
    assert browser.ask("POST", f"{HOOK}/rotate", **SECRET).json()["secret"] == "whsec_next"
    browser.ask("POST", f"{HOOK}/rotate", json={"overlap": 0}, **SECRET)
    assert [asked[3] for asked in noted(browser)] == [86_400, 0]
    for overlap in (-1, 2_592_001, "day", None):
        assert faults(browser.ask("POST", f"{HOOK}/rotate", json={"overlap": overlap}, **SECRET))


def test_a_replay_names_its_event_and_may_be_told_the_oldest(browser: Browser) -> None:
    assert browser.ask("POST", f"{HOOK}/replay", json={"since": 3}, **SECRET).status == 200
    assert noted(browser)[-1][3] == 3
    assert faults(browser.ask("POST", f"{HOOK}/replay", json={}, **SECRET)) == [["since"]]
    hooks: Any = browser.site.resource._services.hooks
    hooks.no = EventsGone.below(7)
    answer = browser.ask("POST", f"{HOOK}/replay", json={"since": 3}, **SECRET)
    assert (answer.status, answer.json()["oldest"]) == (410, 7)


def test_a_body_may_be_left_out_only_where_nothing_has_to_be_said(browser: Browser) -> None:
    assert browser.ask("POST", "/hooks/myorg", **SECRET).status == 400
    document: Any = browser.ask("GET", "/openapi.json").json()
    needed = {
        path: document["paths"][path]["post"]["requestBody"]["required"]
        for path in ("/hooks/{org_id}", "/hooks/{org_id}/{id}/test", "/hooks/{org_id}/{id}/replay")
    }
    assert list(needed.values()) == [True, False, True]
