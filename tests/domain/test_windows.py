"""Windows, bursts and turns, beside a count of what really went in each window."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.domain.pacing import Meter, Pace, Span, Use, Window, horizon
from smsd.domain.rounds import in_turn

ANDROID = Pace(windows=[Window(30, 1800)])
paces = st.builds(
    Pace,
    max_per_minute=st.none() | st.integers(1, 6),
    max_per_hour=st.integers(1, 20),
    windows=st.lists(st.builds(Window, st.integers(1, 9), st.integers(1, 900)), max_size=2),
    burst=st.none() | st.integers(1, 4),
)


def sent(pace: Pace, wanted: list[int]) -> list[Use]:
    """Each as soon as it may, one behind the other."""
    uses: list[Use] = []
    now = 0.0
    for segments in wanted:
        now = Meter(pace.spans, uses, now).opens(segments)
        uses.append(Use(now, segments))
    return uses


def most_in(span: Span, uses: list[Use]) -> int:
    """The most that went in any window of this length that ends with one of them."""
    return max(
        sum(other.segments for other in uses if other.at <= use.at < other.at + span.seconds)
        for use in uses
    )


@given(paces, st.lists(st.just(1), min_size=1, max_size=60))
@example(Pace(max_per_hour=1), [1, 1])
@example(Pace(max_per_minute=3, max_per_hour=20, burst=1), [1] * 30)
def test_in_no_window_more_goes_than_it_allows(pace: Pace, wanted: list[int]) -> None:
    uses = sent(pace, wanted)
    for span in pace.spans:
        assert most_in(span, uses) <= span.segments


@given(paces, st.lists(st.integers(1, 3), min_size=1, max_size=40))
def test_long_texts_go_as_a_whole_and_only_where_nothing_else_went(
    pace: Pace, wanted: list[int]
) -> None:
    uses = sent(pace, wanted)
    for span in pace.spans:
        for at, use in enumerate(uses):
            before = sum(u.segments for u in uses[:at] if u.at + span.seconds > use.at)
            assert before == 0 or before + use.segments <= span.segments


@given(paces, st.lists(st.integers(1, 3), max_size=30), st.integers(1, 4))
def test_a_moment_before_it_opens_it_is_closed(pace: Pace, wanted: list[int], next_: int) -> None:
    uses = sent(pace, wanted)
    now = uses[-1].at if uses else 0.0
    opens = Meter(pace.spans, uses, now).opens(next_)
    assert Meter(pace.spans, uses, opens).opens(next_) == opens
    if opens > now:
        sooner = opens - (opens - now) / 1000
        assert Meter(pace.spans, uses, sooner).opens(next_) == pytest.approx(opens)


def test_android_lets_thirty_go_and_the_next_half_an_hour_after_the_first() -> None:
    uses = [Use(100.0 + at, 1) for at in range(30)]
    meter = Meter(ANDROID.spans, uses, 200.0)
    assert meter.left == 0
    assert meter.opens() == 1900.0
    assert meter.opens(3) == 1902.0


def test_of_several_windows_the_tightest_decides() -> None:
    pace = Pace(max_per_minute=10, max_per_hour=12, max_per_day=100)
    meter = Meter(pace.spans, [Use(0.0, 9), Use(50.0, 2)], 55.0)
    assert meter.left == 0
    assert [window.left for window in meter.windows] == [0, 1, 89]
    assert Meter(pace.spans, [Use(0.0, 9), Use(50.0, 2)], 60.0).left == 1


def test_beyond_a_burst_they_are_spaced_by_the_shortest_window() -> None:
    uses = sent(Pace(max_per_minute=6, max_per_hour=300, burst=2), [1] * 6)
    assert [use.at for use in uses] == [0, 0, 20, 20, 40, 40]
    assert [use.at for use in sent(Pace(max_per_minute=6, burst=1), [1] * 4)] == [0, 10, 20, 30]


def test_a_text_longer_than_a_window_goes_when_the_window_is_empty() -> None:
    meter = Meter(Pace(max_per_minute=2).spans, [Use(0.0, 1)], 30.0)
    assert meter.opens(5) == 60.0
    assert Meter(Pace(max_per_minute=2).spans, [Use(60.0, 5)], 61.0).opens(1) == 120.0


def test_what_is_taken_counts_at_once() -> None:
    meter = Meter(Pace(max_per_minute=3).spans, [], 0.0)
    meter.take(2)
    assert (meter.left, meter.opens(1), meter.opens(2)) == (1, 0.0, 60.0)
    meter.take_at(60.0, 2)
    assert meter.opens(1) == 60.0


def test_without_windows_nothing_waits() -> None:
    assert Pace().spans == ()
    assert Meter((), [Use(0.0, 99)], 1.0).opens(50) == 1.0
    assert horizon(()) == 0


def test_uses_count_for_as_long_as_the_longest_window() -> None:
    assert horizon(Pace(max_per_hour=1, windows=[Window(1, 7200)]).spans) == 7200


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"burst": 3}, "burst spaces what a limit allows"),
        ({"max_per_minute": 0}, "Expected `int` >= 1"),
        ({"windows": [{"segments": 30, "seconds": 2_678_401}]}, "Expected `int` <= 2678400"),
        ({"windows": [{"segments": 1, "seconds": 1}] * 9}, "Expected `array` of length <= 8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pace_that_means_nothing_is_refused(given: object, wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=wrong):
        msgspec.convert(given, Pace)


def test_each_has_its_turn_and_whoever_comes_after_the_last_is_first() -> None:
    waiting = {"a": [1, 2, 3, 4], "b": [5], "c": [6, 7]}
    assert list(in_turn(waiting, None)) == [1, 5, 6, 2, 7, 3, 4]
    assert list(in_turn(waiting, "a")) == [5, 6, 1, 7, 2, 3, 4]
    assert list(in_turn(waiting, "bb")) == [6, 1, 5, 7, 2, 3, 4]
    assert list(in_turn(waiting, "c")) == [1, 5, 6, 2, 7, 3, 4]
    assert list(in_turn({}, "a")) == []
