"""A request that waits: its connection, its client that may go, and whoever comes behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.domain.keys import Key
from smsd.domain.query import MessageQuery

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from smsd.rest.api import Api
    from tests.rest.conftest import Notes, Wire

SECRET = "my-secret-key-123"
PAGE = b'{"org_id":"myorg","count":0,"messages":[]}'


@pytest.fixture
def gone(notes: Notes) -> list[Any]:
    """Everybody waits until ``notes.heard`` is told; why those do not who have gone."""
    gone: list[Any] = []
    notes.heard = Deferred(lambda heard: gone.append(heard))
    return gone


def wait(wire: Wire, method: str = "GET", query: str = "wait=60", **headers: str) -> None:
    wire.ask(method, f"/messages/myorg?{query}", **(headers or {"X_Secret_Key": SECRET}))


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("wait=60", {"wait": 60}),
        ("wait=0.5", {"wait": 0.5}),
        ("wait=007.250", {"wait": 7.25}),
        ("wait=1.5e-1", {"wait": 0.15}),
        (
            "wait=1&limit=5&since_id=7&direction=in&sim=0&address=ACME&order=desc&status=received",
            {
                "wait": 1,
                "limit": 5,
                "since_id": 7,
                "direction": "in",
                "sim": "0",
                "address": "ACME",
                "order": "desc",
                "status": "received",
            },
        ),
    ],
    ids=["whole", "half", "zeros", "exponent", "all"],
)
def test_a_reader_may_wait_for_whatever_it_may_read(
    wire: Wire, notes: Notes, query: str, meant: dict[str, Any]
) -> None:
    wait(wire, query=query)
    assert wire.answer().body == PAGE
    assert notes.waited == [MessageQuery(**meant)]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/messages/myorg/my-secret-key-123", {}),
        ("GET", "/messages/myorg/my-secret-key-123/", {}),
        ("HEAD", "/messages/myorg", {"X_Secret_Key": SECRET}),
        ("HEAD", "/messages/myorg/my-secret-key-123", {}),
        ("GET", "/messages/myorg", {"Authorization": "Bearer smsd_reads"}),
    ],
    ids=["in the path", "with a slash", "head", "head with the path", "key"],
)
def test_every_way_of_reading_can_wait_and_hears(
    wire: Wire, notes: Notes, gone: list[Any], method: str, path: str, headers: dict[str, str]
) -> None:
    notes.keys["smsd_reads"] = Key("myorg", "1", ("read",))
    wire.ask(method, f"{path}?wait=9", **headers)
    assert wire.socket.value() == b""
    notes.heard.callback(PAGE)  # type: ignore[union-attr]
    answer = wire.answer(method)
    assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else PAGE)
    assert answer.headers["content-length"] == str(len(PAGE))
    assert gone == []


def test_a_key_that_may_not_read_does_not_wait(wire: Wire, notes: Notes) -> None:
    notes.keys["smsd_sends"] = Key("myorg", "1", ("send",))
    wait(wire, Authorization="Bearer smsd_sends")
    assert wire.answer().status == 403
    assert notes.waited == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_hangs_up_frees_its_place_at_once(
    wire: Wire, gone: list[Any], api: Api, method: str, log: list[Any]
) -> None:
    wait(wire, method)
    wire.socket.lost()
    assert len(gone) == 1
    assert [tally.statuses for tally in api.tallies if tally.statuses] == [{200: 1}]


def test_a_client_that_goes_before_it_is_let_in_never_waits(wire: Wire, notes: Notes) -> None:
    admitted: Deferred[None] = Deferred()
    notes.before = lambda: admitted
    wait(wire)
    wire.socket.lost()
    admitted.callback(None)
    assert notes.waited == []


def test_what_fails_while_a_client_waits_is_told(wire: Wire, notes: Notes, gone: list[Any]) -> None:
    wait(wire)
    notes.heard.errback(Unavailable())  # type: ignore[union-attr]
    assert wire.answer().status == 503


def test_no_deadline_of_the_connection_cuts_a_client_that_waits(
    wire: Wire, notes: Notes, gone: list[Any], clock: Clock
) -> None:
    wait(wire)
    clock.pump([1] * 60)
    assert (wire.closed, gone) == (False, [])
    notes.heard.callback(PAGE)  # type: ignore[union-attr]
    assert wire.answer().status == 200
    clock.pump([1] * 74)
    assert not wire.closed
    clock.pump([1] * 2)
    assert wire.closed


def test_a_request_behind_one_that_waits_has_its_turn_after_it(
    wire: Wire, notes: Notes, gone: list[Any], clock: Clock
) -> None:
    wait(wire)
    wire.ask("GET", "/health")
    clock.pump([1] * 30)
    assert wire.socket.value() == b""
    notes.heard.callback(PAGE)  # type: ignore[union-attr]
    assert [answer.body for answer in wire.answers()] == [PAGE, b'{"status":"ok"}']


def test_how_long_one_waited_does_not_count_as_our_slowness(
    wire: Wire, notes: Notes, gone: list[Any], api: Api
) -> None:
    wait(wire)
    notes.heard.callback(PAGE)  # type: ignore[union-attr]
    wire.ask("GET", "/messages/myorg", X_Secret_Key=SECRET)
    (tally,) = [tally for tally in api.tallies if tally.statuses]
    assert tally.statuses == {200: 2}
    assert tally.seconds.at_most[-1] == 1
