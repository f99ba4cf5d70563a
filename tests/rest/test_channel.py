"""What comes in as bytes: limits, deadlines, and everything that RFC 9112 wants refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from smsd.rest.channel import HEAD_WITHIN, IDLE_FOR, LINGER, WHOLE_WITHIN
from smsd.rest.outflow import READ_WITHIN
from smsd.rest.request import BODY_LIMIT
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Browser, Notes, Wire

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HOST = b"Host: x\r\n"
GET = b"GET /health HTTP/1.1\r\n"
POST = b"POST /webhook HTTP/1.1\r\nHost: x\r\n"
SECRETS = {"org_id": "myorg", "secret_key": "my-secret-key-123"}


def passed(clock: Clock, seconds: float) -> None:
    clock.pump([0.25] * int(seconds * 4))


# ---- limits ----


def test_a_body_of_one_mebibyte_is_read(browser: Browser) -> None:
    body = b'{"org_id":"myorg","secret_key":"my-secret-key-123","messages":[]}'
    assert browser.ask("POST", "/webhook", body=body.ljust(BODY_LIMIT)).status == 200


def test_a_body_that_announces_more_is_refused_before_it_comes(wire: Wire, notes: Notes) -> None:
    wire.send(POST + b"Content-Length: 1048577\r\n\r\n")
    answer = wire.answer()
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:smsd:problem:too_large"
    assert answer.headers["connection"] == "close"
    assert wire.closed


def test_the_refusal_comes_instead_of_100_continue(wire: Wire) -> None:
    wire.send(POST + b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n")
    assert wire.answer().status == 413


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_much(wire: Wire, notes: Notes) -> None:
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(17):
        wire.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    wire.send(b"0\r\n\r\n" + HEALTH)
    assert wire.answer().status == 413
    assert wire.closed
    assert notes.attempts == []


def test_one_chunk_that_is_too_much_is_refused_and_not_served(wire: Wire, notes: Notes) -> None:
    body = b" " * (BODY_LIMIT + 1)
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n100001\r\n" + body + b"\r\n0\r\n\r\n")
    assert wire.answer().status == 413
    assert notes.attempts == []


def test_a_chunked_body_is_read(wire: Wire, notes: Notes) -> None:
    body = b'{"org_id":"myorg","secret_key":"my-secret-key-123","messages":[]}'
    wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert wire.answer().json() == {"ok": True, "org_id": "myorg", "stored": 0}


def test_what_a_refused_client_goes_on_sending_is_thrown_away(wire: Wire) -> None:
    wire.send(POST + b"Content-Length: 1048577\r\n\r\n")
    wire.answer()
    wire.send(HEALTH, b"x" * 100_000)
    assert wire.answers() == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414),
        (b"GET /" + b"a" * 30_000, 414),
        (GET + b"X: " + b"a" * 9000 + b"\r\n" + HOST, 431),
        (GET + b"X: " + b"a" * 20_000, 431),
        (GET + HOST + b"X: y\r\n" * 64 + b"\r\n", 431),
        (GET + HOST + (b"X: " + b"a" * 5000 + b"\r\n") * 4 + b"\r\n", 431),
    ],
    ids=["path", "path-unended", "header", "header-unended", "65-headers", "together"],
)
def test_a_head_that_is_too_large_is_refused(wire: Wire, head: bytes, status: int) -> None:
    for at in range(0, len(head), 1000):
        wire.send(head[at : at + 1000])
    assert wire.answer().status == status
    assert wire.closed


def test_64_headers_and_a_path_of_8000_characters_are_read(wire: Wire) -> None:
    wire.send(GET + HOST + b"X: y\r\n" * 63 + b"\r\n")
    assert wire.answer().status == 200
    wire.send(b"GET /health?" + b"a" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.answer().status == 200


# ---- RFC 9112 ----


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(GET + b"\r\n", id="no host"),
        pytest.param(GET + HOST + HOST + b"\r\n", id="two hosts"),
        pytest.param(GET + HOST + b"X: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(GET + b" Host: x\r\n\r\n", id="fold before the first header"),
        pytest.param(GET + HOST + b"X : y\r\n\r\n", id="space before colon"),
        pytest.param(GET + HOST + b"X: a\0b\r\n\r\n", id="NUL"),
        pytest.param(GET + HOST + b"X\r\n\r\n", id="no colon"),
        pytest.param(GET + b"Host: x\nA: b\r\n\r\n", id="bare line feed"),
        pytest.param(b"GET /health\r\n", id="HTTP/0.9"),
        pytest.param(b"GET /health HTTP/2.0\r\n", id="HTTP/2"),
        pytest.param(b"GET  /health HTTP/1.1\r\n", id="two spaces"),
        pytest.param(b"G\xc3\xa9T /health HTTP/1.1\r\n", id="odd method"),
        pytest.param(b"GET /h\xc3\xa9alth HTTP/1.1\r\n", id="odd path"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", id="TLS"),
        pytest.param(
            POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", id="CL and TE"
        ),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", id="TE and CL"
        ),
        pytest.param(POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", id="two lengths"),
        pytest.param(POST + b"Content-Length: 5, 5\r\n\r\n", id="length list"),
        pytest.param(POST + b"Content-Length: +5\r\n\r\n", id="+5"),
        pytest.param(POST + b"Content-Length: -5\r\n\r\n", id="-5"),
        pytest.param(POST + b"Content-Length: 0x5\r\n\r\n", id="0x5"),
        pytest.param(POST + b"Content-Length: \xb2\r\n\r\n", id="superscript two"),
        pytest.param(POST + b"Transfer-Encoding: identity\r\n\r\n", id="identity"),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            id="chunked and identity",
        ),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", id="gzip"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n", id="xchunked"),
        pytest.param(
            b"POST /webhook HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked in 1.0"
        ),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", id="bad chunk size"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", id="negative chunk"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", id="long chunk"),
    ],
)
def test_what_two_parsers_may_read_differently_is_refused(
    wire: Wire, notes: Notes, head: bytes
) -> None:
    wire.send(head + HEALTH)
    assert wire.answer().status == 400
    assert wire.closed
    assert notes.attempts == []


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"TRACE /health", 405),
        (b"DELETE /health", 405),
        (b"CONNECT example.com:443", 404),
        (b"GET http://x/health", 404),
        (b"GET *", 404),
        (b"GET /health%00", 404),
        (b"GET /%ff%fe", 404),
        (b"GET /%", 404),
        (b"GET /health/../health", 404),
    ],
)
def test_odd_targets_get_an_ordinary_answer(wire: Wire, line: bytes, status: int) -> None:
    wire.send(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = wire.answer()
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert not wire.closed


@pytest.mark.parametrize(
    "host", [b"", b"x" * 64 + b".example", b"\xff\xfe", b"..", b"a:b:c", b"[::1]:80", b"x/../y"]
)
def test_odd_hosts_do_no_harm(wire: Wire, host: bytes) -> None:
    wire.send(GET + b"Host: " + host + b"\r\n\r\n")
    assert wire.answer().status == 200


# ---- time ----


def test_a_head_must_be_whole_within_ten_seconds_of_its_first_byte(
    wire: Wire, clock: Clock
) -> None:
    for byte in GET[:9]:
        wire.send(bytes([byte]))
        passed(clock, 1)
    assert wire.answers() == []
    wire.send(GET[9:])
    passed(clock, 2)
    assert wire.answer().status == 408
    assert wire.closed


def test_a_body_must_be_whole_within_twenty_seconds_of_the_first_byte(
    wire: Wire, clock: Clock
) -> None:
    wire.send(POST)
    passed(clock, HEAD_WITHIN - 1)
    wire.send(b"Content-Length: 1000\r\n\r\n")
    for _ in range(int(WHOLE_WITHIN - HEAD_WITHIN)):
        wire.send(b" ")
        passed(clock, 1)
    assert wire.answers() == []
    passed(clock, 2)
    assert wire.answer().status == 408


def test_no_deadline_is_met_late(wire: Wire, clock: Clock) -> None:
    passed(clock, 0.5)
    wire.send(POST + b"Content-Length: 1000\r\n\r\n")
    passed(clock, WHOLE_WITHIN)
    assert wire.answer().status == 408


def test_a_connection_that_idles_is_closed_without_ado(wire: Wire, clock: Clock) -> None:
    wire.send(HEALTH)
    wire.answer()
    passed(clock, IDLE_FOR - 1)
    assert not wire.closed
    passed(clock, 2)
    assert wire.socket.disconnecting
    assert wire.answers() == []


def test_a_connection_that_never_says_anything_is_closed(wire: Wire, clock: Clock) -> None:
    passed(clock, IDLE_FOR + 1)
    assert wire.socket.disconnecting
    assert wire.answers() == []


def test_every_request_has_its_own_time(wire: Wire, clock: Clock) -> None:
    for _ in range(5):
        wire.send(HEALTH[:10])
        passed(clock, HEAD_WITHIN - 1)
        wire.send(HEALTH[10:])
        assert wire.answer().status == 200


def test_the_time_runs_for_the_second_of_two_requests_in_one_segment(
    wire: Wire, clock: Clock
) -> None:
    wire.send(HEALTH + GET[:5])
    assert wire.answer().status == 200
    passed(clock, HEAD_WITHIN + 1)
    assert wire.answer().status == 408


def test_a_body_behind_another_request_in_one_segment_has_its_time(
    wire: Wire, clock: Clock
) -> None:
    passed(clock, 50)
    wire.send(HEALTH + POST + b"Content-Length: 9\r\n\r\n")
    assert wire.answer().status == 200
    passed(clock, WHOLE_WITHIN - 1)
    assert wire.answers() == []
    passed(clock, 2)
    assert wire.answer().status == 408


def test_no_deadline_holds_while_the_gateway_works(wire: Wire, notes: Notes, clock: Clock) -> None:
    working: Deferred[None] = Deferred()
    notes.before = lambda: working
    wire.ask("GET", "/messages/myorg", X_Secret_Key="my-secret-key-123")
    passed(clock, 200)
    working.callback(None)
    assert wire.answer().status == 200
    assert not wire.closed


def test_a_refused_client_that_does_not_close_is_cut(wire: Wire, clock: Clock) -> None:
    wire.send(POST + b"Content-Length: 1048577\r\n\r\n")
    passed(clock, LINGER + 1)
    assert wire.socket.disconnecting
    passed(clock, READ_WITHIN + 1)
    assert wire.socket.disconnected


def test_without_connections_there_is_no_timer(browser: Browser, clock: Clock) -> None:
    wires = [browser.wire(), browser.wire()]
    assert len(clock.getDelayedCalls()) == 1
    for wire in wires:
        wire.socket.lost()
    assert clock.getDelayedCalls() == []


# ---- one connection, many requests ----


def test_requests_may_follow_each_other_on_one_connection(wire: Wire) -> None:
    for _ in range(3):
        wire.send(HEALTH)
        assert wire.answer().json() == {"status": "ok"}
    assert not wire.closed


def test_requests_sent_at_once_are_answered_in_their_order(wire: Wire) -> None:
    wire.send(HEALTH + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + HEALTH)
    assert [answer.status for answer in wire.answers()] == [200, 404, 200]


def test_requests_behind_one_that_takes_time_wait_for_it(wire: Wire, notes: Notes) -> None:
    working: Deferred[None] = Deferred()
    notes.before = lambda: working
    wire.ask("GET", "/messages/myorg", X_Secret_Key="my-secret-key-123")
    wire.send(HEALTH[:7])
    wire.send(HEALTH[7:] + HEALTH)
    assert wire.answers() == []
    working.callback(None)
    assert [answer.status for answer in wire.answers()] == [200, 200, 200]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
    ],
)
def test_a_client_that_wants_no_more_is_told_so_and_closed(wire: Wire, head: bytes) -> None:
    wire.send(head)
    answer = wire.answer()
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert wire.socket.disconnecting


def test_a_head_without_body_is_answered_without_one(wire: Wire) -> None:
    wire.ask("HEAD", "/health")
    wire.send(HEALTH)
    head, whole = wire.answers("HEAD", "GET")
    assert head.body == b""
    assert whole.body == b'{"status":"ok"}'
    assert head.headers["content-length"] == whole.headers["content-length"] == "15"


# ---- hanging up ----


def test_a_client_that_hangs_up_stops_nothing(wire: Wire, notes: Notes, log: list[Any]) -> None:
    working: Deferred[None] = Deferred()
    notes.before = lambda: working
    wire.ask("POST", "/send/myorg", json={**SECRETS, "to": "+155", "body": "x"})
    wire.socket.lost()
    assert notes.accepted == []
    working.callback(None)
    assert len(notes.accepted) == 1
    assert log == []


def test_a_client_that_hangs_up_is_no_error_even_if_its_request_fails(
    wire: Wire, notes: Notes, log: list[Any]
) -> None:
    working: Deferred[None] = Deferred()
    notes.before = lambda: working
    wire.ask("GET", "/messages/myorg", X_Secret_Key="wrong-secret-key")
    wire.socket.lost()
    working.callback(None)
    assert log == []


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(
    browser: Browser, clock: Clock, log: list[Any]
) -> None:
    for sent in (b"", GET, POST + b"Content-Length: 9\r\n\r\n{", HEALTH):
        wire = browser.wire()
        wire.send(sent)
        wire.socket.lost()
    assert clock.getDelayedCalls() == []
    assert log == []


# ---- the end ----


def test_a_site_that_retires_closes_idle_connections_and_lets_answers_out(
    browser: Browser, notes: Notes, site: Site
) -> None:
    working: Deferred[None] = Deferred()
    notes.before = lambda: working
    idle, busy, reading = browser.wire(), browser.wire(), browser.wire()
    busy.ask("GET", "/messages/myorg", X_Secret_Key="my-secret-key-123")
    reading.send(HEALTH[:-2])
    site.retire()
    assert idle.socket.disconnecting
    assert not busy.socket.disconnecting
    working.callback(None)
    reading.send(HEALTH[-2:])
    for wire in (busy, reading):
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert wire.socket.disconnecting


# ---- privacy ----


def test_nothing_of_a_request_is_logged(browser: Browser, log: list[Any]) -> None:
    browser.ask("GET", "/messages/myorg/wrong-secret-key", Referer="http://x/secret")
    browser.ask("GET", "/nothing/secret")
    browser.wire().send(b"GET /secret\r\n\r\n")
    assert log == []


def test_a_request_shows_neither_its_path_nor_its_query(wire: Wire, notes: Notes) -> None:
    seen = []
    notes.before = lambda: seen.append(repr(wire.channel.requests[0]))
    wire.ask("GET", "/messages/myorg/my-secret-key-123?address=5551")
    assert seen == ["<Request GET>"]


def test_answers_tell_nothing_of_the_server_and_are_not_kept(browser: Browser) -> None:
    headers = browser.ask("GET", "/health").headers
    assert "server" not in headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
