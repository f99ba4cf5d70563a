"""Every answer has a name, and the log knows what was this request's doing by the same name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smsd.domain.cause import request_id
from smsd.rest.api import Api
from smsd.rest.request_ids import SHAPE, RequestIds
from smsd.rest.site import Site
from tests.rest.test_websocket import GOOD, HANDSHAKE

if TYPE_CHECKING:
    from tests.rest.conftest import Browser, Notes, Wire

AUTH = {"X_Secret_Key": "my-secret-key-123"}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/health", {}),
        ("GET", "/health/", {}),
        ("HEAD", "/health", {}),
        ("OPTIONS", "/webhook", {}),
        ("OPTIONS", "*", {}),
        ("GET", "/messages/myorg", AUTH),
        ("GET", "/messages/myorg", {}),
        ("GET", "/nothing", {}),
        ("PUT", "/webhook", {}),
        ("POST", "/webhook", {}),
        ("GET", "/ready", {}),
        ("GET", "/websocket", {}),
        ("GET", "/websocket?org_id=myorg&secret_key=wrong-secret-1", HANDSHAKE),
    ],
)
def test_every_answer_names_its_request_as_the_caller_did_or_anew(
    browser: Browser, notes: Notes, method: str, path: str, headers: dict[str, str]
) -> None:
    chosen = browser.ask(method, path, X_Request_Id="agent-7:2026/11.22", **headers)
    assert chosen.headers["x-request-id"] == "agent-7:2026/11.22"
    named = browser.ask(method, path, **headers).headers["x-request-id"]
    assert re.fullmatch(SHAPE, named)
    assert named != browser.ask(method, path, **headers).headers["x-request-id"]


@pytest.mark.parametrize("odd", ["", "two words", "a\tb", "x" * 129, "é", 'a"b', "{x}", "<b>"])
def test_a_name_that_a_log_should_not_hold_is_replaced(browser: Browser, odd: str) -> None:
    named = browser.ask("GET", "/health", X_Request_Id=odd).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", named)


def test_a_request_with_two_names_gets_a_third(wire: Wire) -> None:
    head = "GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"
    wire.send(head.encode())
    assert wire.answer().headers["x-request-id"] not in ("a", "b")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ("Content-Length: 9999999\r\n\r\n", 413),
        ("Transfer-Encoding: chunked\r\n\r\n" + "fffff0\r\n" + "x" * (1 << 20) + "x", 413),
        ("Content-Length: 5\r\n\r\n{", 408),
    ],
    ids=["announced", "in chunks", "half a body"],
)
def test_a_request_that_is_not_read_to_its_end_is_refused_by_its_name(
    wire: Wire, clock: Clock, more: str, status: int
) -> None:
    wire.send(f"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n{more}".encode())
    clock.advance(30)
    answer = wire.answer()
    assert (answer.status, answer.headers["x-request-id"]) == (status, "mine")
    clock.advance(30)


def test_a_refusal_in_its_turn_has_the_name_of_the_request_that_is_refused(
    wire: Wire, notes: Notes
) -> None:
    waiting: Deferred[None] = Deferred()
    notes.before = lambda: waiting
    wire.ask("GET", "/messages/myorg", X_Request_Id="first", **AUTH)
    wire.ask("POST", "/webhook", X_Request_Id="second", Content_Length="9999999")
    waiting.callback(None)
    names = [(one.status, one.headers["x-request-id"]) for one in wire.answers("GET", "POST")]
    assert names == [(200, "first"), (413, "second")]


def test_what_is_no_request_is_refused_under_a_new_name(wire: Wire) -> None:
    wire.send(b"nonsense\r\n\r\n")
    assert re.fullmatch(SHAPE, wire.answer().headers["x-request-id"])


def test_a_bug_is_logged_as_this_requests_doing(
    browser: Browser, notes: Notes, log: list[Any]
) -> None:
    seen: list[bytes] = []

    def stumble() -> None:
        seen.append(request_id())
        raise KeyError

    notes.before = stumble
    for path in ("/messages/myorg", "/messages/myorg/"):  # a shortcut, and Klein's way
        answer = browser.ask("GET", path, X_Request_Id=f"bug{path.count('/')}", **AUTH)
        assert (answer.status, log.pop()["log_format"][:8]) == (500, "Incident")
    assert seen == [b"bug2", b"bug3"]
    assert request_id() == b""


def test_requests_that_wait_at_the_same_time_keep_their_own_names(
    browser: Browser, notes: Notes
) -> None:
    waits: list[Deferred[None]] = []
    seen: list[bytes] = []

    async def wait() -> None:
        mine: Deferred[None] = Deferred()
        waits.append(mine)
        await mine
        seen.append(request_id())

    notes.before = wait
    for name in ("a", "b"):
        browser.wire().ask("GET", "/messages/myorg", X_Request_Id=name, **AUTH)
    for waiting in reversed(waits):
        waiting.callback(None)
    assert seen == [b"b", b"a"]


def test_what_a_phone_is_let_in_with_names_the_request(wire: Wire, notes: Notes) -> None:
    wire.ask("GET", GOOD, X_Request_Id="mine", **HANDSHAKE)
    ((request, *_),) = notes.upgraded
    assert b"\r\nX-Request-Id: mine\r\n" in request.handshake()


def test_chance_makes_the_word_of_a_process_and_counting_the_rest(
    notes: Notes, clock: Clock, browser: Browser
) -> None:
    browser.site = Site(Api(notes.services()), clock, chance=lambda: 0.5)
    named = [browser.ask("GET", "/health").headers["x-request-id"] for _ in range(2)]
    assert named == ["7fffffff-1", "7fffffff-2"]
    assert RequestIds(lambda: 1.0).new() == b"ffffffff-1"
