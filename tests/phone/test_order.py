"""Answers leave in the order of their questions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smsd.phone.frames import GatewayFrame, InboundAck
from smsd.phone.order import InOrder


@given(st.integers(0, 30).flatmap(lambda n: st.permutations(range(n))))
def test_whatever_is_ready_first_answers_leave_in_order(ready: list[int]) -> None:
    left: list[GatewayFrame] = []
    answers = InOrder(left.append)
    places = [answers.expect() for _ in ready]
    done: set[int] = set()
    for at in ready:
        answers.answer(places[at], InboundAck(1, at))
        done.add(at)
        first_missing = next((n for n in range(len(ready)) if n not in done), len(ready))
        assert left == [InboundAck(1, n) for n in range(first_missing)]
        assert len(answers) == len(ready) - first_missing


@given(st.data())
def test_questions_may_come_between_the_answers(data: st.DataObject) -> None:
    left: list[GatewayFrame] = []
    answers = InOrder(left.append)
    open_places, asked = {}, 0
    for _ in range(data.draw(st.integers(1, 30))):
        if not open_places or data.draw(st.booleans()):
            open_places[asked] = answers.expect()
            asked += 1
        else:
            at = data.draw(st.sampled_from(sorted(open_places)))
            answers.answer(open_places.pop(at), InboundAck(1, at))
    for at, place in open_places.items():
        answers.answer(place, InboundAck(1, at))
    assert left == [InboundAck(1, n) for n in range(asked)]


def test_an_answer_that_cannot_be_sent_does_not_hold_the_next() -> None:
    left: list[GatewayFrame] = []

    def send(frame: GatewayFrame) -> None:
        if frame == InboundAck(1, 0):
            raise OSError
        left.append(frame)

    answers = InOrder(send)
    first, second = answers.expect(), answers.expect()
    try:
        answers.answer(first, InboundAck(1, 0))
    except OSError:
        answers.answer(second, InboundAck(1, 1))
    assert left == [InboundAck(1, 1)]
