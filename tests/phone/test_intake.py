"""So much at a time, in order, and nothing forgotten that was not meant to be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smsd.phone.intake import Intake


@given(most=st.integers(1, 4), moves=st.lists(st.booleans(), max_size=40))
def test_whatever_comes_and_ends_so_many_are_under_way_and_all_begin_in_order(
    most: int, moves: list[bool]
) -> None:
    begun: list[int] = []
    intake = Intake(most, begun.append)
    said = done = 0
    for speaks in moves:
        if speaks:
            intake.add(said)
            said += 1
        elif done < len(begun):
            done += 1
            intake.done()
        assert begun == list(range(min(said, done + most)))
        assert intake.full is (said - done >= most)


def test_a_thousand_that_end_as_they_begin_do_not_pile_up_on_the_stack() -> None:
    begun: list[int] = []

    def begin(one: int) -> None:
        begun.append(one)
        if one:
            intake.done()

    intake = Intake(1, begin)
    for one in range(5000):
        intake.add(one)
    intake.done()
    assert begun == list(range(5000))
    assert not intake.full


def test_what_is_forgotten_never_begins() -> None:
    begun: list[int] = []
    intake = Intake(1, begun.append)
    for one in range(3):
        intake.add(one)
    intake.forget()
    intake.done()
    assert begun == [0]
    assert not intake.full
