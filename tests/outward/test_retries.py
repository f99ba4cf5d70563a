"""What follows from an attempt."""

from __future__ import annotations

import pytest

from smsd.outward.attempt import Attempt
from smsd.outward.retries import PATIENCE, PAUSES, Again, Disabled, Skipped, Taken, verdict

LOST = Attempt(error="unreachable", ms=1)


def after(
    attempt: Attempt, *, tries: int = 1, failing_for: float = 0, chance: float = 0
) -> Taken | Again | Skipped | Disabled:
    return verdict(attempt, tries=tries, failing_for=failing_for, chance=lambda: chance)


def test_the_pauses_are_those_that_the_docs_tell() -> None:
    assert [pause / 3600 for pause in PAUSES[3:]] == [2, 5, 10, 14, 20, 24]
    assert PAUSES[:3] == (5, 300, 1800)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_2xx_is_taken(status: int) -> None:
    assert after(Attempt(status=status, ms=1), failing_for=10 * PATIENCE) == Taken()


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 429, 500, 503])
def test_any_other_status_is_tried_again(status: int) -> None:
    assert after(Attempt(status=status, ms=1)) == Again(5)


@pytest.mark.parametrize("tries", range(1, 10))
def test_each_pause_is_its_own_and_lengthened_by_a_fifth_at_most(tries: int) -> None:
    least, most = (after(LOST, tries=tries, chance=chance) for chance in (0, 1))
    assert least == Again(PAUSES[tries - 1])
    assert most == Again(PAUSES[tries - 1] * 1.2)


def test_after_the_last_retry_the_event_is_given_up_and_the_next_waits_as_long() -> None:
    assert after(LOST, tries=10) == Skipped(PAUSES[-1])


def test_gone_is_for_ever() -> None:
    assert after(Attempt(status=410, ms=1)) == Disabled("gone")


def test_three_days_of_failure_end_it_and_not_a_moment_less() -> None:
    assert after(LOST, failing_for=3 * 86_400 - 1) == Again(5)
    assert after(LOST, failing_for=3 * 86_400) == Disabled("failing")


def test_an_endpoint_that_asks_for_more_time_gets_it_and_never_less_than_its_pause() -> None:
    assert after(Attempt(status=429, ms=1, retry_after=60)) == Again(60)
    assert after(Attempt(status=503, ms=1, retry_after=1)) == Again(5)
