"""Bytes that come in many ways are the same requests, answered one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from smsd.rest.incoming import BITE

if TYPE_CHECKING:
    from tests.rest.conftest import Notes, Wire

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b'{"org_id":"myorg","secret_key":"my-secret-key-123","messages":[]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def post(headers: bytes, body: bytes) -> bytes:
    return b"POST /webhook HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (headers, body)


def waiting(notes: Notes) -> Deferred[None]:
    """Whoever needs a secret waits for this."""
    until: Deferred[None] = Deferred()
    notes.before = lambda: until
    return until


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, BITE, 10**6])
@pytest.mark.parametrize(("headers", "body"), [(LENGTH, BODY), (CHUNKED, CHUNKS)])
def test_a_request_is_the_same_in_pieces_of_any_size(
    wire: Wire, headers: bytes, body: bytes, size: int
) -> None:
    raw = post(headers, body) * 2 + HEALTH
    wire.send(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert [answer.status for answer in wire.answers("POST", "POST", "GET")] == [200, 200, 200]


@pytest.mark.parametrize(("headers", "body"), [(LENGTH, BODY), (CHUNKED, CHUNKS), (b"", b"")])
@pytest.mark.parametrize("size", [1, 10**6])
def test_an_upgrade_to_what_nobody_speaks_here_is_passed_over(
    wire: Wire, headers: bytes, body: bytes, size: int
) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    raw = post(upgrade + headers, body) + HEALTH
    wire.send(*(raw[at : at + size] for at in range(0, len(raw), size)))
    answers = wire.answers("POST", "GET")
    assert [answer.status for answer in answers] == [200 if body else 400, 200]


def test_a_body_in_a_websocket_handshake_is_no_frame(wire: Wire) -> None:
    wire.send(
        b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Content-Length: 5\r\n\r\nhello" + HEALTH
    )
    assert [answer.status for answer in wire.answers()] == [200, 200]


def test_a_handshake_where_no_socket_is_leaves_the_connection_to_http(wire: Wire) -> None:
    wire.send(
        b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        + HEALTH
    )
    assert [answer.status for answer in wire.answers()] == [200, 200]


def test_thousands_of_requests_in_one_piece_are_all_answered(wire: Wire) -> None:
    wire.send(HEALTH * 3000)
    assert len(wire.answers()) == 3000


def test_requests_that_waited_are_answered_one_after_another(wire: Wire, notes: Notes) -> None:
    until = waiting(notes)
    wire.send(post(LENGTH, BODY) + HEALTH * 1000)
    assert wire.answers() == []
    until.callback(None)
    assert len(wire.answers("POST")) == 1001


def test_few_requests_become_objects_before_their_turn(wire: Wire, notes: Notes) -> None:
    until = waiting(notes)
    wire.send(post(LENGTH, BODY) + HEALTH * 1000)
    assert len(wire.channel.requests) <= 160
    until.callback(None)


def test_who_sends_far_ahead_is_read_no_further(wire: Wire, notes: Notes) -> None:
    until = waiting(notes)
    wire.send(post(LENGTH, BODY), HEALTH * 1000)
    assert wire.socket.producerState == "paused"
    until.callback(None)
    assert wire.socket.producerState == "producing"


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", post(b"Content-Length: 1048577\r\n", b"")]
)
def test_a_refusal_waits_for_the_answers_before_it(
    wire: Wire, notes: Notes, nonsense: bytes
) -> None:
    until = waiting(notes)
    wire.send(post(LENGTH, BODY) + HEALTH + nonsense + HEALTH)
    assert wire.answers() == []
    until.callback(None)
    answers = wire.answers("POST")
    assert [answer.status for answer in answers[:2]] == [200, 200]
    assert answers[2].status in (400, 413)
    assert len(answers) == 3
    assert wire.closed


def test_what_comes_behind_the_last_request_is_for_nobody(wire: Wire, notes: Notes) -> None:
    until = waiting(notes)
    wire.send(post(b"Connection: close\r\n" + LENGTH, BODY) + HEALTH, HEALTH)
    until.callback(None)
    assert wire.answer("POST").headers["connection"] == "close"
    assert wire.closed


def test_what_comes_behind_a_last_request_that_is_answered_at_once_is_for_nobody(
    wire: Wire,
) -> None:
    wire.send(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + HEALTH)
    assert wire.answer().headers["connection"] == "close"


def test_trailers_change_nothing(wire: Wire, notes: Notes) -> None:
    trailers = b"X-Org-Id: another\r\n"
    wire.send(post(CHUNKED, CHUNKS[:-2] + trailers + b"\r\n"))
    assert wire.answer("POST").json()["org_id"] == "myorg"


@pytest.mark.parametrize("method", [b"BREW", b"get", b"G"])
def test_a_method_that_does_not_exist_is_told(wire: Wire, method: bytes) -> None:
    wire.send(method + b" /health HTTP/1.1\r\nHost: x\r\n\r\n")
    answer: Any = wire.answer()
    assert answer.status == 400
    assert "method" in answer.json()["detail"]
