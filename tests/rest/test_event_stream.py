"""An event stream on the wire: its head, what is written, and readers that do not read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from smsd.domain.errors import EventsGone
from smsd.domain.happenings import EventQuery
from smsd.domain.keys import Key
from smsd.rest.api import Api
from smsd.rest.outflow import READ_LEAST
from smsd.rest.site import Site
from smsd.rest.stream import preface, sign_of_life, spelt
from smsd.store.events import Event
from tests.rest.conftest import SECRET, Wire
from tests.rest.test_outflow import FULL, Slow

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Browser, Notes

PREFACE = b"retry: 2000\nid: 41\n\n"


def hear(wire: Wire, method: str = "GET", path: str = "/events/myorg", **headers: str) -> None:
    wire.ask(method, path, **(headers or {"X_Secret_Key": SECRET}))


def event(data: str = "{}", id_: int = 7, type_: str = "phone.online") -> Event:
    return Event(id_, type_, datetime(2026, 1, 31, tzinfo=UTC), None, data)


# ---- how it is spelt ----


def test_an_event_is_its_cursor_its_type_and_its_data_in_one_line() -> None:
    told = spelt(event('{"sims":[{"slot":0}, \n {"slot":1}],"label":"\\n é"}'))
    assert told.decode() == (
        'id: 7\nevent: phone.online\ndata: {"sims":[{"slot":0},  {"slot":1}],"label":"\\n é"}\n\n'
    )


def test_a_sign_of_life_is_a_comment_and_the_cursor_and_no_event() -> None:
    assert sign_of_life(41) == b":\nid: 41\n\n"


def test_readers_come_back_after_a_second_or_some_more() -> None:
    assert preface(5, 0.0) == b"retry: 1000\nid: 5\n\n"
    assert preface(5, 1.0) == b"retry: 3000\nid: 5\n\n"


# ---- how it begins ----


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/events/myorg", {"X_Secret_Key": SECRET}),
        (f"/events/myorg/{SECRET}", {"Accept": "text/event-stream"}),
        (f"/events/myorg/{SECRET}/", {"Accept": "text/event-stream"}),
        ("/events/myorg/", {"X_Secret_Key": SECRET}),
        ("/events/myorg", {"Authorization": "Bearer smsd_reads"}),
    ],
    ids=["header", "path", "path and slash", "slash", "key"],
)
def test_a_stream_begins_with_its_head_and_where_to_go_on(
    wire: Wire, notes: Notes, api: Api, path: str, headers: dict[str, str]
) -> None:
    notes.keys["smsd_reads"] = Key("myorg", "1", ("read",))
    hear(wire, path=path, **headers)
    answer = wire.answer()
    assert (answer.status, answer.body) == (200, PREFACE)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]
    assert "content-length" not in answer.headers
    assert not wire.closed
    assert len(notes.streams) == 1
    (tally,) = [tally for tally in api.tallies if tally.statuses]
    assert tally.statuses == {200: 1}


def test_head_is_the_head_alone(wire: Wire, notes: Notes) -> None:
    hear(wire, "HEAD")
    answer = wire.answer("HEAD")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert wire.closed
    assert notes.streams == []


def test_what_is_asked_for_reaches_the_gateway(wire: Wire, notes: Notes) -> None:
    hear(wire, path="/events/myorg?since=40&types=ticket.sent&address=ACME&direction=out&sim=1")
    ((caller, query),) = notes.read
    assert caller.org_id == "myorg"
    assert query == EventQuery(
        since=40, types="ticket.sent", address="ACME", direction="out", sim="1"
    )


def test_the_header_of_an_event_source_is_the_cursor(wire: Wire, notes: Notes) -> None:
    hear(wire, X_Secret_Key=SECRET, Last_Event_ID="17")
    assert wire.answer().body.endswith(b"id: 17\n\n")


@pytest.mark.parametrize("said", ["x", "-1", "1.5", "1" * 19, " "])
def test_a_header_that_is_no_cursor_is_refused(wire: Wire, notes: Notes, said: str) -> None:
    hear(wire, X_Secret_Key=SECRET, Last_Event_ID=said)
    answer = wire.answer()
    assert (answer.status, answer.json()["errors"][0]["loc"]) == (422, ["Last-Event-ID"])
    assert notes.streams == []


def test_a_cursor_that_missed_something_is_told_the_oldest_that_did_not(
    wire: Wire, notes: Notes
) -> None:
    notes.no_place = EventsGone.below(57)
    hear(wire, path="/events/myorg?since=3")
    answer = wire.answer()
    told = answer.json()
    assert (answer.status, told["type"]) == (410, "urn:smsd:problem:events_gone")
    assert told["oldest"] == 57
    assert "57" in told["detail"]
    assert not wire.closed


def test_a_key_without_the_scope_hears_nothing(wire: Wire, notes: Notes) -> None:
    notes.keys["smsd_sends"] = Key("myorg", "1", ("send",))
    hear(wire, Authorization="Bearer smsd_sends")
    assert wire.answer().status == 403
    assert notes.streams == []


def test_an_allowed_page_of_another_origin_may_read_it(notes: Notes, clock: Clock) -> None:
    site = Site(Api(notes.services(), origins=["https://app.example"]), clock)
    wire = Wire(site, Slow(peerAddress=IPv4Address("TCP", "203.0.113.7", 40000)))
    hear(wire, X_Secret_Key=SECRET, Origin="https://app.example")
    wire.socket.take(FULL)  # type: ignore[attr-defined]
    allowed = wire.answer().headers["access-control-allow-origin"]
    assert allowed == "https://app.example"
    hear_preflight = Wire(site, Slow(peerAddress=IPv4Address("TCP", "203.0.113.7", 40000)))
    hear(hear_preflight, "OPTIONS", Origin="https://app.example")
    hear_preflight.socket.take(FULL)  # type: ignore[attr-defined]
    assert b"Last-Event-ID" in hear_preflight.socket.value()
    for each in (wire, hear_preflight):
        each.socket.lost()


# ---- how it goes on, and ends ----


def test_no_deadline_of_the_connection_ends_it_and_no_more_is_read(
    wire: Wire, site: Site, clock: Clock
) -> None:
    hear(wire)
    assert site.deadlines.watched() == []
    clock.pump([1] * 200)
    wire.ask("GET", "/health")
    assert wire.answer().body == PREFACE
    assert not wire.closed


def test_a_reader_that_hangs_up_has_its_stream_ended(wire: Wire, notes: Notes) -> None:
    hear(wire)
    wire.socket.lost()
    assert notes.ended == [stream for stream, _ in notes.streams]


def test_a_client_that_goes_before_it_is_let_in_has_no_stream(wire: Wire, notes: Notes) -> None:
    admitted: Deferred[None] = Deferred()
    notes.before = lambda: admitted
    hear(wire)
    wire.socket.lost()
    admitted.callback(None)
    assert notes.streams == []


def test_what_is_written_before_the_end_is_still_read(wire: Wire, notes: Notes) -> None:
    hear(wire)
    ((_, reader),) = notes.streams
    reader.write(b"last words")
    reader.close()
    assert wire.closed
    assert wire.answer().body == PREFACE + b"last words"


def test_its_connection_counts_as_one_of_its_address(api: Api, clock: Clock) -> None:
    site = Site(api, clock, most_per_address=1)
    first = Wire(site, Slow(peerAddress=IPv4Address("TCP", "203.0.113.7", 40000)))
    hear(first)
    second = Wire(site, Slow(peerAddress=IPv4Address("TCP", "203.0.113.7", 40001)))
    second.socket.take(FULL)  # type: ignore[attr-defined]
    assert second.answer().status == 429
    second.socket.lost()
    first.socket.lost()
    third = Wire(site, Slow(peerAddress=IPv4Address("TCP", "203.0.113.7", 40002)))
    third.ask("GET", "/health")
    third.socket.take(FULL)  # type: ignore[attr-defined]
    assert third.answer().status == 200
    third.socket.lost()


# ---- readers that do not read ----


@pytest.fixture
def slow(browser: Browser, site: Site) -> Wire:
    """Hears, and reads nothing by itself."""
    wire = Wire(site, Slow(peerAddress=IPv4Address("TCP", browser.peer, 40000)))
    browser.wires.append(wire)
    hear(wire)
    return wire


@pytest.fixture
def reader(slow: Wire, notes: Notes) -> Any:
    ((_, reader),) = notes.streams
    return reader


def test_a_reader_is_not_ready_while_its_transport_is_full(slow: Any, reader: Any) -> None:
    assert reader.ready
    while reader.ready:
        reader.write(b"x" * 10_000)
    assert len(slow.socket.dataBuffer) < FULL + 10_001
    assert slow.socket.take(2 * FULL) > FULL
    assert reader.ready


def test_a_reader_that_takes_nothing_for_a_whole_turn_is_stuck(slow: Any, reader: Any) -> None:
    assert not reader.is_stuck()  # something waits since now
    reader.write(b"alive")
    assert reader.is_stuck()
    slow.socket.take(FULL)
    assert not reader.is_stuck()


def test_a_reader_that_reads_slowly_is_not_stuck_until_it_holds_up_a_full_transport(
    slow: Any, reader: Any
) -> None:
    reader.is_stuck()
    for _ in range(5):
        reader.write(b"something")
        slow.socket.take(1)
        assert not reader.is_stuck()
    while reader.ready:
        reader.write(b"x" * 10_000)
    slow.socket.take(READ_LEAST)
    assert not reader.is_stuck()
    slow.socket.take(READ_LEAST - 1)
    assert reader.is_stuck()


def test_a_reader_that_has_read_all_is_never_stuck(slow: Any, reader: Any) -> None:
    for _ in range(3):
        slow.socket.take(FULL)
        assert not reader.is_stuck()


def test_a_reader_that_is_cut_takes_its_connection_along(
    slow: Any, reader: Any, notes: Notes
) -> None:
    reader.cut()
    assert notes.ended == [stream for stream, _ in notes.streams]
    reader.close()
