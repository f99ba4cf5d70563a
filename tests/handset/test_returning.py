"""When a phone comes back, and when it had better not."""

from __future__ import annotations

from random import Random

import pytest

from smsd.handset.returning import (
    Again,
    Closed,
    End,
    Refused,
    Returning,
    Stop,
    Unreachable,
    seconds,
)


class Longest(Random):
    """Draws the longest wait there is."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Shortest(Random):
    def uniform(self, a: float, b: float) -> float:
        return a


NOBODY = Unreachable("refused")


def waits(ends: list[End], random: Random) -> list[float]:
    returning = Returning(random)
    steps = [returning.after(end) for end in ends]
    return [step.seconds for step in steps if isinstance(step, Again)]


def test_the_longest_wait_doubles_up_to_a_minute() -> None:
    assert waits([NOBODY] * 8, Longest()) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_wait_is_drawn_from_zero_on() -> None:
    assert waits([NOBODY] * 8, Shortest()) == [0] * 8


def test_thousands_of_tries_wait_a_minute_still() -> None:
    assert waits([NOBODY] * 3000, Longest())[-1] == 60


def test_a_line_that_stood_five_seconds_begins_the_count_anew() -> None:
    stood = Closed(1001, "going away", on_line=5)
    assert waits([NOBODY, NOBODY, stood, NOBODY], Longest()) == [1, 2, 1, 2]


def test_a_line_that_stood_for_a_moment_counts_as_a_failure() -> None:
    fell = Closed(1006, "", on_line=4.9)
    assert waits([fell] * 4, Longest()) == [1, 2, 4, 8]


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_that_says_when_is_obeyed_and_jitter_comes_on_top(status: int) -> None:
    refused = Refused(status, "Busy", retry_after=30)
    assert waits([refused], Shortest()) == [30]
    assert waits([refused, refused], Longest()) == [31, 32]


def test_a_refusal_for_years_is_taken_as_one_for_an_hour() -> None:
    assert waits([Refused(503, "Busy", retry_after=10**8)], Shortest()) == [3600]


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_a_refusal_that_may_pass_is_tried_again(status: int) -> None:
    assert waits([Refused(status, "Oh")], Longest()) == [1]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1009, 4400, 4408, 4429, 4503])
def test_a_closed_line_is_dialled_again(code: int) -> None:
    assert waits([Closed(code, "", 0)], Longest()) == [1]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Refused(401, "Unauthorized"), "SMSD_SECRET"),
        (Closed(4401, "", 1), "SMSD_SECRET"),
        (Closed(4409, "", 900), "another phone"),
        (Refused(404, "Not Found"), "--url"),
        (Refused(426, "Upgrade Required"), "--url"),
    ],
)
def test_where_it_is_no_use_the_phone_stops_and_says_what_to_look_at(end: End, words: str) -> None:
    step = Returning(Random()).after(end)
    assert isinstance(step, Stop)
    assert words in step.words


def test_the_user_reads_why_the_line_ended() -> None:
    step = Returning(Random()).after(Closed(1001, "going away", 9))
    assert step.words == "closed: 1001 going away"


@pytest.mark.parametrize(
    ("header", "meant"),
    [("30", 30), (" 7 ", 7), ("0", 0), ("", None), ("soon", None), ("-1", None), ("9" * 20, None)],
)
def test_a_retry_after_is_read_as_seconds_or_not_at_all(header: str, meant: float | None) -> None:
    assert seconds(header) == meant
