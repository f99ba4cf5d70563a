"""A time is told in one form, wherever it was made."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from smsd.domain.moments import at, rfc3339

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("hours", [0, 1, -5])
def test_a_time_is_told_in_utc_with_its_offset_wherever_it_was_looked_at(hours):
    there = NOON.astimezone(timezone(timedelta(hours=hours)))
    assert rfc3339(there) == "2026-01-31T12:00:00+00:00"


def test_a_moment_since_1970_is_told_to_the_microsecond():
    assert at(NOON.timestamp() + 0.25) == "2026-01-31T12:00:00.250000+00:00"
