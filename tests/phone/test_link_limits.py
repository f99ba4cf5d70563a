"""Patience and its limits: receipts, silence, phones that do not read, a database that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from wires import CLOSE, ORG, PING, PONG, MemoryPhone, Notes, framed, inbound, text, ticket

from smsd.domain.errors import Unavailable
from smsd.domain.records import Inbound
from smsd.gateway.doorman import Caller
from smsd.gateway.visit import Identity
from smsd.phone.factory import LinkFactory

CALLER = Caller(ORG)
Connect = Callable[..., MemoryPhone]


@pytest.fixture
def phone(connect: Connect) -> MemoryPhone:
    phone = connect(CALLER)
    phone.frames()
    return phone


@pytest.fixture
def wheel(factory: LinkFactory, clock: Clock) -> Any:
    """Turns once a second of the clock."""
    factory.start()
    yield
    factory.stop()


def pass_time(clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)


# -- receipts --------------------------------------------------------------------------------


def test_the_pong_is_the_receipt(phone: MemoryPhone, notes: Notes) -> None:
    visit = notes.visit
    before = visit.places
    visit.give([ticket(5), ticket(6)])
    assert phone.pings() == [b"1"]
    assert visit.places == before - 2
    phone.receipt()
    assert [push.received for push in visit.unsettled()] != [None, None]
    assert notes.events[-1] == ("feed",)


def test_a_result_is_a_receipt_too(phone: MemoryPhone, notes: Notes) -> None:
    notes.visit.give([ticket(5), ticket(6)])
    phone.say({"type": "send_result", "id": 6, "success": True})
    five, six = notes.visit.unsettled()
    assert (five.received, six.received is None) == (None, False)


def test_a_pong_for_a_keep_alive_is_a_receipt_for_all_before_it(
    phone: MemoryPhone, notes: Notes, clock: Clock, wheel: Any
) -> None:
    """RFC 6455, 5.5.3: a peer may answer the latest ping only."""
    notes.visit.give([ticket(5)])
    pass_time(clock, 20)
    assert phone.pings() == [b"1", b"1"]
    phone.receipt()
    assert [push.received is None for push in notes.visit.unsettled()] == [False]


@pytest.mark.parametrize("payload", [b"", b"x", b"-1", b"1" * 20, b"1.0", "²".encode(), b"7" * 125])
def test_a_pong_that_nobody_asked_for_is_nothing(
    phone: MemoryPhone, notes: Notes, payload: bytes
) -> None:
    notes.visit.give([ticket(5)])
    phone.write(framed(PONG, payload))
    assert [push.received for push in notes.visit.unsettled()] == [None]
    assert phone.connected


# -- silence ---------------------------------------------------------------------------------


def test_each_phone_is_pinged_every_twenty_seconds(
    connect: Connect, clock: Clock, wheel: Any
) -> None:
    phones = [connect(CALLER) for _ in range(45)]
    for round_ in (1, 2):
        pass_time(clock, 20)
        for phone in phones:
            assert len(phone.pings()) == round_
            phone.write(framed(PONG))


def test_pings_are_spread_over_the_twenty_seconds(
    connect: Connect, clock: Clock, wheel: Any
) -> None:
    phones = [connect(CALLER) for _ in range(40)]
    pass_time(clock, 10)
    assert sum(len(phone.pings()) for phone in phones) == 20


def test_a_silent_phone_is_dropped_after_45_seconds(
    phone: MemoryPhone, notes: Notes, clock: Clock, wheel: Any
) -> None:
    pass_time(clock, 45)
    assert phone.connected
    pass_time(clock, 1)
    assert not phone.connected
    assert phone.line.aborted
    assert notes.events[-1] == ("end", "nothing was heard of it")


@pytest.mark.parametrize(
    "sign",
    [text({"type": "ping"}), framed(PING), framed(PONG), b"\x81"],
    ids=["frame", "ping", "pong", "half a frame"],
)
def test_any_traffic_counts(phone: MemoryPhone, clock: Clock, wheel: Any, sign: bytes) -> None:
    pass_time(clock, 44)
    phone.write(sign)
    pass_time(clock, 44)
    assert phone.connected


def test_a_phone_that_says_goodbye_and_stays_is_cut(
    phone: MemoryPhone, notes: Notes, clock: Clock, wheel: Any
) -> None:
    phone.line.stuck = True
    phone.write(framed(CLOSE, b"\x03\xe8"))
    assert phone.connected
    pass_time(clock, 46)
    assert not phone.connected
    assert not notes.visit.on_line


def test_one_phones_trouble_does_not_stop_the_wheel(
    connect: Connect, clock: Clock, wheel: Any, logged_failures: Any
) -> None:
    odd, other = connect(CALLER), connect(CALLER)
    bug: Any = odd.link
    bug.ping = bug.drop = lambda *_: 1 / 0
    pass_time(clock, 20)
    assert len(other.pings()) == 1
    assert len(logged_failures.taken(ZeroDivisionError)) == 1


# -- phones that do not read -------------------------------------------------------------------


def test_nothing_is_pushed_into_a_full_transport(phone: MemoryPhone, notes: Notes) -> None:
    phone.line.stuck = True
    notes.visit.give([ticket(5, "x" * 70_000)])
    assert notes.visit.places == 0
    notes.visit.give([ticket(6)])
    assert [push.pushed is None for push in notes.visit.unsettled()] == [False, True]
    phone.line.stuck = False
    phone.line.startWriting()
    assert [frame["id"] for frame in phone.frames()] == [5, 6]
    assert phone.pings() == [b"1", b"2"]
    assert notes.events[-1] == ("feed",)


def test_a_phone_that_leaves_a_mebibyte_unread_is_dropped(phone: MemoryPhone, notes: Notes) -> None:
    phone.line.stuck = True
    long = "x" * 100_000
    for n in range(11):
        phone.say(inbound(id=f"{n}{long}"))
        assert phone.connected
    phone.say(inbound(id=long))
    assert not phone.connected
    assert notes.events[-1] == ("end", "it does not read")


def test_unanswered_pings_of_a_phone_that_does_not_read_count_too(phone: MemoryPhone) -> None:
    phone.line.stuck = True
    flood = framed(PING, b"x" * 125) * 500
    for _ in range(18):
        phone.write(flood)
    assert not phone.connected


def test_a_slow_phone_is_not_dropped(phone: MemoryPhone) -> None:
    for n in range(30):
        phone.line.stuck = True
        phone.say(inbound(id=f"{n}" + "x" * 100_000))
        phone.line.stuck = False
        phone.line.startWriting()
        assert len(phone.frames()) == 1


# -- SMS that wait for the database ------------------------------------------------------------


class Held:
    """A gateway that stores SMS, results or reports when it is told to."""

    def __init__(self, notes: Notes, what: str = "on_store") -> None:
        self.waiting: list[Deferred[None]] = []
        setattr(notes, what, self._store)

    def _store(self, _: object) -> Deferred[None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def store(self, most: int | None = None) -> None:
        """Store the next ``most`` of those that wait now, or all of them."""
        now = self.waiting[:most]
        del self.waiting[:most]
        for one in now:
            one.callback(None)


@given(order=st.permutations(range(8)))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
def test_answers_to_inbound_leave_in_order(
    connect: Connect, notes: Notes, order: list[int]
) -> None:
    held, phone = Held(notes), connect(CALLER)
    phone.say(*[inbound(id=n) for n in range(1, 5)])
    phone.say({"type": "inbound", "message": {"id": 5}})
    phone.say(*[inbound(id=n) for n in range(6, 10)])
    for at in order:
        held.waiting[at].callback(None)
    _, *answers = phone.frames()
    assert [answer["id"] for answer in answers] == list(range(1, 10))
    assert [answer["type"] for answer in answers] == [
        *["inbound_ack"] * 4,
        "error",
        *["inbound_ack"] * 4,
    ]
    phone.hang_up()


def test_other_answers_do_not_wait_for_inbound(phone: MemoryPhone, notes: Notes) -> None:
    held = Held(notes)
    phone.say(inbound(), {"type": "ping"}, {"type": "sims", "sims": []})
    assert [frame["type"] for frame in phone.frames()] == ["pong", "sims_ack"]
    held.waiting[0].callback(None)
    assert phone.frames() == [{"type": "inbound_ack", "stored": 1}]


def test_reading_stops_when_too_many_sms_wait_and_goes_on(phone: MemoryPhone, notes: Notes) -> None:
    held = Held(notes)
    phone.say(*[inbound()] * 499)
    assert phone.line.reading
    phone.say(inbound())
    assert not phone.line.reading
    phone.say(*[inbound()] * 3)
    assert len(held.waiting) == 500
    held.waiting[1].callback(None)
    assert not phone.line.reading  # nothing has left: the first still waits
    held.waiting[0].callback(None)
    assert len(phone.frames()) == 2
    assert len(held.waiting) == 502, "the last of them waits for its turn"
    assert not phone.line.reading


def test_sms_whose_turn_never_came_are_left_to_the_phone(phone: MemoryPhone, notes: Notes) -> None:
    """It was told of none of them, so it sends them again: without an id they would be twice."""
    held = Held(notes)
    phone.say(*[inbound()] * 600)
    phone.hang_up()
    held.store()
    assert len(notes.named("store")) == 500


def test_a_session_that_ends_while_nothing_is_read_ends_in_order(
    phone: MemoryPhone, notes: Notes, factory: LinkFactory
) -> None:
    held = Held(notes)
    phone.say(*[inbound()] * 500)
    factory.stop()
    assert phone.closed_with == 1001
    assert phone.line.reading
    held.waiting[3].callback(None)
    phone.write(framed(CLOSE, b"\x03\xe9"))
    assert not phone.connected


def test_an_sms_waits_for_the_database_and_holds_the_later_ones(
    phone: MemoryPhone, notes: Notes, clock: Clock
) -> None:
    def away(sms: Inbound) -> None:
        if sms.id == 1 and clock.seconds() < 5:
            raise Unavailable

    notes.on_store = away
    phone.say(inbound(id=1), inbound(id=2), inbound(id=3))
    clock.advance(0)
    assert phone.frames() == []
    clock.pump([0.5] * 14)
    assert [frame["id"] for frame in phone.frames()] == [1, 2, 3]
    assert phone.connected


def test_an_sms_that_cannot_be_stored_for_ten_seconds_ends_the_session(
    phone: MemoryPhone, notes: Notes, clock: Clock
) -> None:
    def away(sms: Inbound) -> None:
        raise Unavailable("Away.")

    notes.on_store = away
    phone.say(inbound(id=1), inbound(id=2))
    clock.pump([0.1] * 75)
    assert phone.closed_with is None
    clock.pump([0.1] * 30)
    assert phone.farewell == (4503, "Away.")
    assert phone.frames() == []
    assert notes.named("end") == [("end", "unavailable")]
    phone.write(framed(CLOSE))
    clock.advance(10)


# -- results and reports that wait for the database ----------------------------------------------


def result(id_: int) -> dict[str, Any]:
    return {"type": "send_result", "id": id_, "success": True}


@pytest.fixture
def ledger_phone(connect: Connect) -> MemoryPhone:
    phone = connect(CALLER, Identity("mine", keeps_ledger=True))
    phone.frames()
    return phone


def test_a_hundred_results_await_their_commit_and_no_more_is_read(
    ledger_phone: MemoryPhone, notes: Notes
) -> None:
    held, phone = Held(notes, "on_take"), ledger_phone
    phone.say(*map(result, range(1, 100)))
    assert phone.line.reading
    phone.say(result(100))
    assert not phone.line.reading
    phone.say(result(101))
    assert len(held.waiting) == 100
    held.store(1)
    assert phone.frames() == [{"type": "result_ack", "id": 1}]
    assert len(held.waiting) == 100
    assert not phone.line.reading
    held.store()
    assert phone.line.reading
    assert [frame["id"] for frame in phone.frames()] == list(range(2, 102))


def test_what_came_in_one_gulp_waits_for_its_turn_and_none_of_it_is_lost(
    ledger_phone: MemoryPhone, notes: Notes
) -> None:
    held, phone = Held(notes, "on_take"), ledger_phone
    phone.say(*map(result, range(1, 1301)))
    assert len(held.waiting) == 100
    for _ in range(13):
        assert not phone.line.reading
        held.store()
    assert phone.line.reading
    assert [frame["id"] for frame in phone.frames()] == list(range(1, 1301))


def test_results_that_were_read_are_settled_though_the_phone_has_gone(
    phone: MemoryPhone, notes: Notes
) -> None:
    held = Held(notes, "on_take")
    phone.say(*map(result, range(1, 151)))
    phone.hang_up()
    held.store()
    held.store()
    assert [taken.id for _, taken in notes.named("take")] == list(range(1, 151))


def test_a_result_that_cannot_be_settled_does_not_hold_up_those_behind_it(
    phone: MemoryPhone, notes: Notes
) -> None:
    """A shutdown while the database is away: each is tried, none waits for ever."""
    held = Held(notes, "on_take")
    phone.say(*map(result, range(1, 1001)))
    notes.verdict = Unavailable()
    notes.on_take = lambda _: None
    held.store()
    assert len(notes.named("take")) == 1000
    assert phone.closed_with == 4503


def test_a_phone_that_is_not_read_is_not_dropped_for_its_silence(
    phone: MemoryPhone, notes: Notes, clock: Clock, wheel: Any
) -> None:
    held = Held(notes, "on_take")
    phone.say(*map(result, range(1, 101)))
    pass_time(clock, 200)
    assert phone.connected
    assert len(phone.pings()) == 10, "it may notice that the line is dead"
    held.store()
    pass_time(clock, 45)
    assert phone.connected
    pass_time(clock, 1)
    assert not phone.connected
    assert notes.events[-1] == ("end", "nothing was heard of it")


def test_of_reports_that_come_at_once_the_newest_stands_for_all(
    phone: MemoryPhone, notes: Notes
) -> None:
    held = Held(notes, "on_report")
    for slots in ([0], [0, 1], [], [2, 3, 4]):
        phone.say({"type": "sims", "sims": [{"slot": slot} for slot in slots]})
    assert phone.frames() == []
    held.store()
    assert phone.frames() == [{"type": "sims_ack", "count": 1}]
    held.store()
    assert [frame["count"] for frame in phone.frames()] == [2, 0, 3]
    stored = [[sim.slot for sim in sims] for _, sims in notes.named("report")]
    assert stored == [[0], [2, 3, 4]]
    phone.say({"type": "sims", "sims": []})
    held.store()
    assert phone.frames() == [{"type": "sims_ack", "count": 0}]


def test_reading_stops_when_too_many_reports_wait(phone: MemoryPhone, notes: Notes) -> None:
    held, empty = Held(notes, "on_report"), {"type": "sims", "sims": []}
    phone.say(*[empty] * 16)
    assert phone.line.reading
    phone.say(empty)
    assert not phone.line.reading
    held.store()
    held.store()
    assert phone.line.reading
    assert len(phone.frames()) == 17
