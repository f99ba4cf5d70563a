"""The phone's rules, without a line: frames in, effects out."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from smsd.domain.records import Inbound, Sim
from smsd.handset.ledger import Acknowledged, Answered, GivenBack, Heard, Ledger, Settled, Taken
from smsd.handset.phone import HandToRadio, Phone, Say, TakeFromRadio, Write, WriteDown
from smsd.phone.frames import (
    CancelResult,
    CancelSms,
    Connected,
    DeliveryReport,
    Error,
    InboundAck,
    InboundSms,
    Pong,
    ResultAck,
    SendResult,
    SendSms,
    Sims,
    SimsAck,
)

SIM = Sim(slot=0, number="+15550100001")
REPORT = Write(Sims([SIM]))
HELLO = Connected("myorg")
PLAIN = SendSms(5, "+15550100002", "hi", None)
SECURED = SendSms(5, "+15550100002", "hi", None, ref="ab", attempt=1)
SENT = SendResult(5, success=True, sent_at=2000)
SENT_SECURED = SendResult(5, success=True, sent_at=2000, ref="ab")
NOW, LATER = 1000, 2000


def sms_heard(name: str) -> Inbound:
    return Inbound(address="+15550100003", body="hello", id=name)


def a_phone(*, on_line: bool = True) -> Phone:
    phone = Phone(SIM, Ledger())
    if on_line:
        phone.receive(HELLO, NOW)
    return phone


def test_a_phone_that_is_connected_reports_its_sim() -> None:
    assert a_phone(on_line=False).receive(HELLO, NOW) == [REPORT]


def test_a_plain_send_sms_goes_to_the_radio_and_nothing_is_written_down() -> None:
    assert a_phone().receive(PLAIN, NOW) == [HandToRadio(PLAIN)]


def test_the_result_tells_when_the_sms_was_sent() -> None:
    assert a_phone().radio_answered(PLAIN, LATER) == [Write(SENT)]


def test_a_failure_is_told_in_the_words_of_the_radio() -> None:
    failed = SendResult(5, success=False, error="no credit")
    assert a_phone().radio_answered(PLAIN, LATER, "no credit") == [Write(failed)]


@pytest.mark.parametrize("expires_at", [NOW, NOW - 1])
def test_an_sms_that_is_too_late_is_dropped_and_the_gateway_told(expires_at: int) -> None:
    late = SendSms(5, "+15550100002", "hi", None, expires_at=expires_at)
    assert a_phone().receive(late, NOW) == [Write(SendResult(5, success=False, error="expired"))]
    in_time = SendSms(5, "+15550100002", "hi", None, expires_at=NOW + 1)
    assert a_phone().receive(in_time, NOW) == [HandToRadio(in_time)]


def test_with_a_ledger_one_that_is_too_late_is_written_down_as_taken_and_answered() -> None:
    late = SendSms(5, "+15550100002", "hi", None, ref="ab", attempt=1, expires_at=NOW)
    phone = a_phone()
    told = SendResult(5, success=False, error="expired", ref="ab")
    taken, answered = Taken("ab", 5, NOW), Answered("ab", error="expired")
    assert phone.receive(late, NOW) == [WriteDown(taken), WriteDown(answered), Write(told)]
    assert phone.receive(late, LATER)[1:] == [Write(told)]


WANTED = SendSms(5, "+15550100002", "hi", None, receipt=True)
ARRIVED = DeliveryReport(5, delivered=True, at=LATER)


def test_an_sms_for_which_a_report_is_wanted_is_reported_behind_its_result() -> None:
    assert a_phone().radio_answered(WANTED, LATER) == [Write(SENT), Write(ARRIVED)]
    failed = SendResult(5, success=False, error="no credit")
    assert a_phone().radio_answered(WANTED, LATER, "no credit") == [Write(failed)]


def test_a_report_without_a_line_is_told_once_when_the_line_is_back() -> None:
    phone = a_phone()
    phone.line_lost()
    assert phone.radio_answered(WANTED, LATER) == []
    assert phone.receive(HELLO, NOW) == [REPORT, Write(SENT), Write(ARRIVED)]
    phone.not_written(ARRIVED)
    phone.line_lost()
    assert phone.receive(HELLO, NOW) == [REPORT, Write(ARRIVED)]


def test_with_a_ledger_a_ref_that_comes_again_is_reported_again() -> None:
    wanted = SendSms(5, "+15550100002", "hi", None, ref="ab", attempt=1, receipt=True)
    arrived = Write(DeliveryReport(5, delivered=True, at=LATER, ref="ab"))
    phone = a_phone()
    phone.receive(wanted, NOW)
    assert phone.receive(wanted, NOW)[1:] == []
    assert phone.radio_answered(wanted, LATER)[1:] == [Write(SENT_SECURED), arrived]
    assert phone.receive(wanted, 3000)[1:] == [Write(SENT_SECURED), arrived]


def test_a_result_without_a_line_is_told_once_when_the_line_is_back() -> None:
    phone = a_phone()
    phone.line_lost()
    assert phone.radio_answered(PLAIN, LATER) == []
    assert phone.receive(HELLO, NOW) == [REPORT, Write(SENT)]
    phone.line_lost()
    assert phone.receive(HELLO, NOW) == [REPORT]


def test_a_result_that_met_a_closing_line_is_told_on_the_next_one() -> None:
    phone = a_phone()
    phone.not_written(SENT)
    phone.line_lost()
    assert phone.receive(HELLO, NOW) == [REPORT, Write(SENT)]


def test_with_a_ledger_the_ticket_is_written_down_before_the_radio_gets_it() -> None:
    taken = WriteDown(Taken("ab", 5, NOW))
    assert a_phone().receive(SECURED, NOW) == [taken, HandToRadio(SECURED)]


def test_with_a_ledger_the_answer_is_written_down_before_it_is_told() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    answered = WriteDown(Answered("ab", sent_at=LATER))
    assert phone.radio_answered(SECURED, LATER) == [answered, Write(SENT_SECURED)]


def test_what_the_radio_gives_back_is_written_down_before_it_is_told() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    assert phone.receive(CancelSms(5), NOW) == [TakeFromRadio("ab")]
    given_back = Write(CancelResult(5, cancelled=True))
    effects = phone.radio_gave_back("ab", in_time=True)
    assert effects == [WriteDown(GivenBack("ab")), given_back]
    assert phone.receive(SECURED, LATER)[1:] == [given_back]
    assert phone.receive(CancelSms(5), LATER) == [given_back]
    assert phone.receive(HELLO, LATER) == [REPORT]


def test_what_the_radio_has_begun_with_is_not_given_back() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    phone.receive(CancelSms(5), NOW)
    too_late = Write(CancelResult(5, cancelled=False))
    assert phone.radio_gave_back("ab", in_time=False) == [too_late]
    phone.radio_answered(SECURED, LATER)
    assert phone.receive(CancelSms(5), LATER) == [too_late]


def test_a_ticket_that_the_phone_does_not_know_is_not_given_back() -> None:
    phone = a_phone()
    phone.receive(PLAIN, NOW)
    for ticket in (5, 77):
        refused = Write(CancelResult(ticket, cancelled=False))
        assert phone.receive(CancelSms(ticket), NOW) == [refused]


def test_a_ref_that_comes_again_is_answered_again_and_not_sent() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    phone.radio_answered(SECURED, LATER)
    known, answer = phone.receive(SECURED, LATER)
    assert isinstance(known, Say)
    assert answer == Write(SENT_SECURED)


def test_a_ref_that_comes_again_while_the_radio_is_at_it_is_only_remarked_on() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    (known,) = phone.receive(SECURED, NOW)
    assert isinstance(known, Say)


def test_a_secured_result_is_repeated_on_every_line_until_it_is_acknowledged() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    phone.radio_answered(SECURED, LATER)
    for _ in range(2):
        phone.line_lost()
        assert phone.receive(HELLO, NOW) == [REPORT, Write(SENT_SECURED)]
    assert phone.receive(ResultAck(5), LATER) == [WriteDown(Acknowledged("ab"))]
    assert phone.receive(HELLO, NOW) == [REPORT]


def test_a_secured_result_that_met_a_closing_line_is_not_told_twice_on_the_next() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    phone.radio_answered(SECURED, LATER)
    phone.not_written(SENT_SECURED)
    assert phone.receive(HELLO, NOW) == [REPORT, Write(SENT_SECURED)]


def test_a_result_that_the_gateway_refuses_for_good_is_not_repeated() -> None:
    phone = a_phone()
    phone.receive(SECURED, NOW)
    phone.radio_answered(SECURED, LATER)
    phone.receive(Error("unknown_ticket", "No such ticket.", in_reply_to="send_result", id=5), NOW)
    assert phone.receive(HELLO, NOW) == [REPORT]


def test_an_acknowledgement_of_nothing_known_does_nothing() -> None:
    assert a_phone().receive(ResultAck(77), NOW) == []


def test_an_sms_that_arrives_is_kept_and_told() -> None:
    heard = sms_heard("a")
    assert a_phone().heard(heard) == [WriteDown(Heard(heard)), Write(InboundSms(heard))]


def test_an_sms_that_arrives_without_a_line_is_kept_and_told_later() -> None:
    phone, heard = a_phone(on_line=False), sms_heard("a")
    noted, said = phone.heard(heard)
    assert noted == WriteDown(Heard(heard))
    assert isinstance(said, Say)
    assert phone.receive(HELLO, NOW) == [REPORT, Write(InboundSms(heard))]


def test_an_inbound_is_sent_again_on_every_line_until_it_is_answered() -> None:
    phone, heard = a_phone(), sms_heard("a")
    phone.heard(heard)
    phone.line_lost()
    assert phone.receive(HELLO, NOW) == [REPORT, Write(InboundSms(heard))]
    assert phone.receive(InboundAck(1, "a"), NOW) == [WriteDown(Settled("a"))]
    assert phone.receive(HELLO, NOW) == [REPORT]


@pytest.mark.parametrize(
    "answer",
    [InboundAck(1, "b"), Error("bad_frame", "Too long.", in_reply_to="inbound", id="b")],
)
def test_an_answer_settles_the_inbound_that_it_names(answer: InboundAck | Error) -> None:
    phone = a_phone()
    phone.heard(sms_heard("a"))
    phone.heard(sms_heard("b"))
    phone.receive(answer, NOW)
    assert phone.receive(HELLO, NOW) == [REPORT, Write(InboundSms(sms_heard("a")))]


def test_an_answer_without_an_id_is_for_the_oldest_inbound() -> None:
    phone = a_phone()
    phone.heard(sms_heard("a"))
    phone.heard(sms_heard("b"))
    assert phone.receive(InboundAck(1, UNSET), NOW) == [WriteDown(Settled("a"))]


@pytest.mark.parametrize("answer", [InboundAck(1, "x"), InboundAck(1, UNSET)])
def test_an_answer_to_no_inbound_does_nothing(answer: InboundAck) -> None:
    assert a_phone().receive(answer, NOW) == []


@pytest.mark.parametrize("frame", [SimsAck(1), Pong(), Error("bad_frame", "What?")])
def test_other_frames_are_only_shown(frame: SimsAck | Pong | Error) -> None:
    assert a_phone().receive(frame, NOW) == []
