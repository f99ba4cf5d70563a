"""A phone comes, speaks, and goes: the link, its desk and its session on a wire in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from wires import (
    AUTH,
    BINARY,
    CLOSE,
    ORG,
    PING,
    TEXT,
    MemoryPhone,
    Notes,
    framed,
    inbound,
    text,
    ticket,
)

from smsd.domain.credentials import Credentials
from smsd.domain.errors import Invalid, Locked, Problem, Replaced, Unauthorised, Unavailable
from smsd.domain.records import Result, Sim
from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.visit import Identity
from smsd.phone.factory import LinkFactory

CALLER = Caller(ORG)
CONNECTED = {"type": "connected", "org_id": ORG}
PING_FRAME = {"type": "ping"}

Connect = Callable[..., MemoryPhone]


@pytest.fixture
def phone(connect: Connect) -> MemoryPhone:
    """A plain phone that is on line."""
    phone = connect(CALLER)
    assert phone.frames() == [CONNECTED]
    return phone


# -- coming in -------------------------------------------------------------------------------


def test_the_upgrade_is_answered_without_compression_or_delay(connect: Connect) -> None:
    phone = connect(CALLER)
    assert phone.greeting.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in phone.greeting  # RFC 6455, 1.3
    assert b"Extensions" not in phone.greeting
    assert phone.line.no_delay


def test_nothing_of_the_handshake_is_kept(connect: Connect) -> None:
    kept = vars(connect(CALLER).link)
    assert not {"http_request_data", "http_response_data", "http_headers"} & set(kept)


def test_what_came_in_the_handshakes_segment_is_not_lost(connect: Connect, notes: Notes) -> None:
    phone = connect(CALLER, behind=text(inbound(id=1)) + text(inbound(id=2)) + text(PING_FRAME))
    assert phone.frames() == [
        CONNECTED,
        {"type": "inbound_ack", "stored": 1, "id": 1},
        {"type": "inbound_ack", "stored": 1, "id": 2},
        {"type": "pong"},
    ]
    assert len(notes.named("store")) == 2


def test_half_a_frame_behind_the_handshake_waits_for_its_other_half(connect: Connect) -> None:
    whole = text(PING_FRAME)
    phone = connect(CALLER, behind=whole[:5])
    phone.write(whole[5:])
    assert phone.frames() == [CONNECTED, {"type": "pong"}]


def test_a_phone_says_who_it_is_in_its_first_frame(connect: Connect, notes: Notes) -> None:
    phone = connect()
    assert phone.frames() == []
    phone.say({**AUTH, "device_id": "mine", "claim_token": "please"})
    assert phone.frames() == [CONNECTED]
    assert notes.events == [
        ("recognise", ORG, "203.0.113.7", True, "please"),
        ("begin", ORG, "mine"),
        ("serve",),
    ]


def test_a_newcomer_claims_its_org_when_it_comes_in(connect: Connect, notes: Notes) -> None:
    connect(Newcomer(Credentials(ORG, "my-secret-key-123"), "203.0.113.7"))
    assert [name for name, *_ in notes.events] == ["claim", "begin", "serve"]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [(Unauthorised("No."), 4401), (Locked("No."), 4429), (Invalid("No."), 4401)],
)
def test_a_refused_auth_is_told_and_closed(
    connect: Connect, notes: Notes, refusal: Problem, code: int
) -> None:
    notes.refusal = refusal
    phone = connect()
    phone.say(AUTH)
    assert phone.frames() == [{"type": "error", "code": refusal.slug, "detail": "No."}]
    assert phone.farewell == (code, "No.")
    assert notes.visits == []


@pytest.mark.parametrize(
    "first", [PING_FRAME, inbound(), {"type": "dance"}, {"type": "auth", "org_id": ORG}]
)
def test_anything_but_auth_before_auth_is_refused(
    connect: Connect, notes: Notes, first: dict[str, Any]
) -> None:
    phone = connect()
    phone.say(first, AUTH, PING_FRAME)
    (error,) = phone.frames()
    assert error["type"] == "error"
    assert phone.closed_with == 4401
    assert notes.events == []


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (
            {"type": "auth", "org_id": ORG, "secret_key": "s" * 12, "key": "smsd_1"},
            "auth: secret_key and key are given: send one of them",
        ),
        ({"type": "auth", "org_id": ORG}, "auth: secret_key is missing, or key in its place"),
        ({"type": "auth", "secret_key": 5}, "auth: org_id is missing; secret_key must be text"),
        ({"type": "sims", "sims": 5}, 'The first frame must be {"type":"auth",...}.'),
    ],
    ids=["both", "neither", "misshapen", "another"],
)
def test_who_is_closed_for_its_auth_reads_in_the_reason_what_was_wrong_with_it(
    connect: Connect, first: dict[str, Any], reason: str
) -> None:
    phone = connect()
    phone.say(first)
    assert phone.farewell == (4401, reason)
    assert [frame["code"] for frame in phone.frames()] == ["bad_frame"]


def test_a_phone_that_says_nothing_is_not_waited_for(
    connect: Connect, notes: Notes, clock: Clock
) -> None:
    phone = connect()
    clock.advance(9.9)
    assert phone.closed_with is None
    clock.advance(0.1)
    assert phone.closed_with == 4408


def test_no_timer_is_left_of_a_phone_that_is_on_line(connect: Connect, clock: Clock) -> None:
    connect().say(AUTH)
    assert clock.getDelayedCalls() == []


def test_while_the_doorman_is_asked_nothing_more_is_read(connect: Connect, notes: Notes) -> None:
    notes.door = Deferred()
    phone = connect()
    phone.say(AUTH, PING_FRAME)
    assert not phone.line.reading
    phone.say(*[inbound()] * 3)
    assert phone.frames() == []
    notes.door.callback(None)
    assert [frame["type"] for frame in phone.frames()] == [
        "connected",
        "pong",
        *["inbound_ack"] * 3,
    ]


def test_hundreds_of_sms_behind_the_handshake_are_taken(connect: Connect, notes: Notes) -> None:
    """A phone that comes back after a night without network says all at once."""
    notes.gate = Deferred()
    phone = connect(CALLER, behind=b"".join(text(inbound(id=n)) for n in range(1, 401)))
    notes.gate.callback(None)
    assert [frame.get("id") for frame in phone.frames()] == [None, *range(1, 401)]


def test_an_auth_frame_from_a_phone_that_the_url_named_is_harmless(connect: Connect) -> None:
    phone = connect(CALLER)
    phone.say(AUTH, PING_FRAME)
    connected, error, pong = phone.frames()
    assert (connected, pong) == (CONNECTED, {"type": "pong"})
    assert error["code"] == "bad_frame"


@pytest.mark.parametrize("how", ["hang_up", "close"])
def test_who_leaves_while_being_admitted_leaves_nothing(
    connect: Connect, notes: Notes, clock: Clock, factory: LinkFactory, how: str
) -> None:
    notes.gate = Deferred()
    phone = connect(CALLER)
    phone.write(framed(CLOSE))
    if how == "hang_up":
        phone.hang_up()
    notes.gate.callback(None)
    phone.pump()
    assert not phone.connected
    assert not notes.visit.on_line
    assert notes.events[-1][0] == "end"
    assert factory.links == set()
    assert clock.getDelayedCalls() == []


def test_who_leaves_while_the_doorman_is_asked_never_comes_on_line(
    connect: Connect, notes: Notes
) -> None:
    notes.door = Deferred()
    phone = connect()
    phone.say(AUTH)
    phone.hang_up()
    notes.door.callback(None)
    assert notes.visits == []


# -- on line ---------------------------------------------------------------------------------


def test_ping_is_answered_with_pong_and_a_ping_of_the_protocol_too(phone: MemoryPhone) -> None:
    phone.say(PING_FRAME)
    phone.write(framed(PING, b"abc"))
    assert phone.raw_frames() == [b'{"type":"pong"}']
    assert phone.pongs() == [b"abc"]


def test_sims_are_reported_and_acknowledged(phone: MemoryPhone, notes: Notes) -> None:
    phone.say({"type": "sims", "sims": [{"slot": 0, "number": "+1"}, {"slot": 1}]})
    assert phone.raw_frames() == [b'{"type":"sims_ack","count":2}']
    assert notes.named("report") == [("report", [Sim(slot=0, number="+1"), Sim(slot=1)])]


def test_what_postgres_cannot_hold_of_a_sim_is_mended(phone: MemoryPhone, notes: Notes) -> None:
    sim = {"slot": 0, "number": "+1\0", "label": "\0", "carrier": ""}
    phone.say({"type": "sims", "sims": [sim]})
    expected = Sim(slot=0, number="+1\ufffd", label="\ufffd", carrier=None)
    assert notes.named("report") == [("report", [expected])]


def test_a_result_is_settled_without_a_word_to_a_plain_phone(
    phone: MemoryPhone, notes: Notes
) -> None:
    phone.say({"type": "send_result", "id": 5, "success": True, "sent_at": 1700000000000})
    phone.say({"type": "send_result", "id": 6, "success": False, "error": "no\0" + "o" * 600})
    assert phone.frames() == []
    first, second = (result for _, result in notes.named("take"))
    assert first == Result(org_id=ORG, id=5, success=True, sent_at=1700000000000)
    assert second.error == "no\ufffd" + "o" * 497


def test_a_ref_that_is_no_ref_is_nothing_that_postgres_stumbles_over(
    phone: MemoryPhone, notes: Notes
) -> None:
    phone.say({"type": "send_result", "id": 5, "success": True, "ref": "\0" * 1000})
    ((_, result),) = notes.named("take")
    assert result.ref == "\ufffd" * 500


@pytest.mark.parametrize(("verdict", "acked"), [("settled", 1), ("repeated", 1), ("ignored", 0)])
def test_a_ledger_phone_hears_when_it_may_forget(
    connect: Connect, notes: Notes, verdict: str, acked: int
) -> None:
    notes.verdict = verdict
    phone = connect(CALLER, Identity("mine", keeps_ledger=True))
    phone.say({"type": "send_result", "id": 5, "success": True})
    assert phone.frames() == [CONNECTED, *[{"type": "result_ack", "id": 5}] * acked]


@pytest.mark.parametrize("id_", [5, 0, -1, 2**63, 2**64, 10**30])
def test_a_result_for_no_ticket_is_an_error(phone: MemoryPhone, notes: Notes, id_: int) -> None:
    notes.verdict = "unknown"
    phone.say({"type": "send_result", "id": id_, "success": True})
    (error,) = phone.frames()
    assert error == {
        "type": "error",
        "code": "unknown_ticket",
        "detail": "No ticket of this org with this id was ever pushed to a phone.",
        "in_reply_to": "send_result",
        "id": id_,
    }
    assert len(notes.named("take")) == (id_ == 5)


def test_a_plain_phone_gets_the_frames_keys_and_nothing_more(
    phone: MemoryPhone, notes: Notes
) -> None:
    notes.visit.give([ticket()])
    assert phone.raw_frames() == [
        b'{"type":"send_sms","id":5,"to":"+15550100002","body":"hi","sim":null}'
    ]


def test_a_ledger_phone_gets_ref_and_attempt(connect: Connect, notes: Notes) -> None:
    phone = connect(CALLER, Identity("mine", keeps_ledger=True))
    notes.visit.give([ticket()])
    assert phone.raw_frames()[1:] == [
        b'{"type":"send_sms","id":5,"to":"+15550100002","body":"hi","sim":null,'
        b'"ref":"%b","attempt":1}' % (b"ab" * 16)
    ]


# -- bad frames ------------------------------------------------------------------------------


def test_a_bad_frame_is_an_error_and_the_connection_goes_on(phone: MemoryPhone) -> None:
    phone.write(framed(TEXT, b"hello"))
    phone.say({"type": "dance"}, {"type": "send_result"}, PING_FRAME)
    *errors, pong = phone.frames()
    assert [error["code"] for error in errors] == ["bad_frame"] * 3
    assert pong == {"type": "pong"}


def test_twenty_bad_frames_close_the_session(phone: MemoryPhone, notes: Notes) -> None:
    phone.say(*[{"type": "dance"}] * 25, inbound())
    assert len(phone.frames()) == 20
    assert phone.closed_with == 4400
    assert [event for event in notes.events if event[0] in ("store", "end")] == [
        ("end", "bad_frame")
    ]


def test_a_binary_frame_closes_the_session(phone: MemoryPhone, notes: Notes) -> None:
    phone.write(framed(BINARY, b"{}"))
    assert phone.closed_with == 4400
    assert not notes.visit.on_line


def test_a_frame_of_a_mebibyte_is_read_and_one_byte_more_is_not(
    connect: Connect, notes: Notes
) -> None:
    frame = b'{"type":"ping","x":"%b"}'
    room = (1 << 20) - len(frame) + 2
    phone = connect(CALLER)
    phone.write(framed(TEXT, frame % (b"x" * room)))
    assert phone.frames() == [CONNECTED, {"type": "pong"}]
    phone.write(framed(TEXT, frame % (b"x" * (room + 1))))
    assert phone.closed_with == 1009
    assert phone.frames() == []
    phone.write(framed(CLOSE, b"\x03\xf1"))
    assert not notes.visit.on_line


def test_the_longest_id_comes_back_whole(phone: MemoryPhone) -> None:
    long = "x" * ((1 << 20) - 60)
    phone.say({"type": "inbound", "message": {"id": long}})
    (error,) = phone.frames()
    assert (error["in_reply_to"], error["id"]) == ("inbound", long)


@pytest.mark.parametrize(
    "raw",
    [
        framed(TEXT, b"\xff"),
        framed(11),
        framed(3),
        framed(TEXT, b"{}")[:1] + b"\x02{}",
        b"\xff\x80",
    ],
)
def test_what_is_not_websocket_ends_the_connection(
    phone: MemoryPhone, notes: Notes, clock: Clock, raw: bytes
) -> None:
    phone.write(raw)
    assert phone.closed_with in (1002, 1007)
    clock.advance(3)
    assert not phone.connected
    assert not notes.visit.on_line


# -- going -----------------------------------------------------------------------------------


def test_a_phone_that_says_goodbye_is_gone(phone: MemoryPhone, notes: Notes) -> None:
    phone.write(framed(CLOSE, b"\x03\xe8"))
    assert phone.closed_with == 1000
    assert not phone.connected
    assert notes.events[-1] == ("end", "closed (1000)")


def test_a_phone_that_is_cut_off_is_gone(phone: MemoryPhone, notes: Notes) -> None:
    phone.hang_up()
    assert notes.events[-1] == ("end", "closed (1006)")


def test_what_is_ready_after_the_end_is_dropped_without_a_fuss(
    phone: MemoryPhone, notes: Notes
) -> None:
    waiting: Deferred[None] = Deferred()
    notes.on_store = lambda _: waiting
    phone.say(inbound())
    phone.hang_up()
    waiting.callback(None)
    notes.visit.phone.push([ticket()], 1)
    assert phone.frames() == []


def test_a_replaced_phone_is_told_and_nothing_is_written_behind_it(
    phone: MemoryPhone, notes: Notes
) -> None:
    notes.visit.phone.close(Replaced())
    notes.visit.phone.push([ticket()], 1)
    phone.say(PING_FRAME)
    assert phone.frames() == []
    assert phone.closed_with == 4409
    assert not notes.visit.phone.writable


def test_tickets_and_the_ping_behind_them_leave_in_one_piece(
    phone: MemoryPhone, notes: Notes
) -> None:
    before = phone.line.written
    notes.visit.phone.push([ticket(), ticket()], 7)
    assert phone.line.written == before + 1
    assert [frame["type"] for frame in phone.frames()] == ["send_sms", "send_sms"]
    assert phone.pings()[-1] == b"7"


@pytest.mark.parametrize("detail", ["é" * 100, "a" + "é" * 100, "x" * 200, "😀" * 40, "short"])
def test_a_farewell_fits_its_frame_and_is_whole_text(
    phone: MemoryPhone, notes: Notes, detail: str
) -> None:
    notes.visit.phone.close(Replaced(detail))
    assert phone.farewell is not None
    _, reason = phone.farewell
    assert detail.startswith(reason)
    assert min(119, len(detail.encode()) - 1) < len(reason.encode()) <= 123


def test_a_phone_that_does_not_answer_a_farewell_is_cut(
    phone: MemoryPhone, notes: Notes, clock: Clock
) -> None:
    notes.visit.phone.close(Replaced())
    clock.advance(2.9)
    assert phone.connected
    clock.advance(0.1)
    assert not phone.connected


def test_no_timer_is_left_of_a_phone_that_goes_during_its_farewell(
    phone: MemoryPhone, notes: Notes, clock: Clock
) -> None:
    notes.visit.phone.close(Replaced())
    phone.hang_up()
    assert clock.getDelayedCalls() == []


def test_at_a_shutdown_everybody_is_told(
    connect: Connect, factory: LinkFactory, notes: Notes
) -> None:
    notes.gate = Deferred()
    phones = [connect(), connect(CALLER)]
    factory.stop()
    assert [phone.closed_with for phone in phones] == [1001, 1001]
    notes.gate.callback(None)


# -- our own bugs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "frame"),
    [
        ("on_store", inbound()),
        ("verdict", {"type": "send_result", "id": 5, "success": True}),
        ("not_reported", {"type": "sims", "sims": []}),
    ],
)
def test_a_bug_of_ours_ends_the_session_and_is_logged_once(
    phone: MemoryPhone, notes: Notes, logged_failures: Any, attribute: str, frame: Any
) -> None:
    bug: Any = KeyError("ours")

    def fail(_: Any) -> None:
        raise bug

    setattr(notes, attribute, fail if attribute == "on_store" else bug)
    phone.say(frame)
    assert phone.farewell == (1011, "Something went wrong in the gateway; its log says what.")
    assert not notes.visit.on_line
    assert len(logged_failures.taken(KeyError)) == 1


def test_a_bug_while_a_phone_is_admitted_ends_its_session(
    connect: Connect, notes: Notes, logged_failures: Any
) -> None:
    notes.not_begun = KeyError("ours")
    assert connect(CALLER).closed_with == 1011
    assert len(logged_failures.taken(KeyError)) == 1


def test_a_bug_in_a_callback_of_the_wire_ends_the_session(
    phone: MemoryPhone, notes: Notes, logged_failures: Any
) -> None:
    def fail(visit: object) -> None:
        raise KeyError("ours")

    notes.feed = fail  # type: ignore[method-assign]
    phone.write(framed(10, b"1"))
    assert phone.closed_with == 1011
    assert not notes.visit.on_line
    assert len(logged_failures.taken(KeyError)) == 1


def test_a_problem_of_the_database_ends_the_session_in_order(
    phone: MemoryPhone, notes: Notes
) -> None:
    notes.not_reported = Unavailable("Away.")
    phone.say({"type": "sims", "sims": []})
    assert phone.farewell == (4503, "Away.")
