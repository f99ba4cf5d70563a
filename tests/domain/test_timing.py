"""What an agent may ask of the time of a ticket, whatever the clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from smsd.domain.records import Draft
from smsd.domain.timing import AHEAD, ANYTIME, Timing, timing, untimely

NOW = 1_700_000_000.0
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def draft(**more: object) -> Draft:
    return Draft(to="+15550001111", body="hi", **more)


def ms(seconds: float) -> int:
    return int((NOW + seconds) * 1000)


@pytest.mark.parametrize(
    ("asked", "means"),
    [
        ({}, ANYTIME),
        ({"priority": 10}, ANYTIME),
        ({"send_at": at(60)}, Timing(send_at=ms(60))),
        ({"send_at": at(0)}, Timing()),
        ({"send_at": at(-60)}, Timing()),
        ({"ttl": 30}, Timing(expires_at=ms(30), ttl=30)),
        ({"ttl": 30, "send_at": at(60)}, Timing(ms(60), ms(90), 30)),
        ({"ttl": 30, "send_at": at(-60)}, Timing(None, ms(30), 30)),
        ({"expires_at": at(5)}, Timing(expires_at=ms(5))),
        ({"expires_at": at(70), "send_at": at(60)}, Timing(ms(60), ms(70))),
    ],
    ids=str,
)
def test_what_is_asked_becomes_times(asked, means):
    assert timing(draft(**asked), NOW) == means


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({}, None),
        ({"send_at": at(-1e9)}, None),
        ({"send_at": at(AHEAD)}, None),
        ({"send_at": at(AHEAD + 1)}, ("send_at", "must be at most 30 days ahead")),
        ({"expires_at": at(0)}, ("expires_at", "must be in the future: this time is over")),
        ({"expires_at": at(1)}, None),
        (
            {"send_at": at(60), "expires_at": at(60)},
            ("expires_at", "must be after send_at: it could never be sent"),
        ),
        ({"send_at": at(60), "expires_at": at(61)}, None),
        ({"expires_at": LAST}, None),
        (
            {"expires_at": LAST.replace(tzinfo=timezone(timedelta(hours=-1)))},
            ("expires_at", "must be before the year 10000, in UTC"),
        ),
        ({"send_at": at(-60), "expires_at": at(1)}, None),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_with_its_place(asked, wrong):
    lone = untimely([draft(**asked)], NOW, lone=True)
    assert [(fault.loc, fault.msg) for fault in lone] == ([([wrong[0]], wrong[1])] if wrong else [])
    several = untimely([draft(), draft(**asked)], NOW, lone=False)
    assert [fault.loc for fault in several] == ([["messages", 1, wrong[0]]] if wrong else [])


def test_an_offset_is_part_of_the_time():
    abroad = at(60).astimezone(timezone(timedelta(hours=9)))
    assert timing(draft(send_at=abroad), NOW).send_at == ms(60)
    assert timing(draft(send_at=at(60) + timedelta(milliseconds=5)), NOW).send_at == ms(60) + 5


def test_a_lifetime_is_told_in_one_way():
    with pytest.raises(ValueError, match="either ttl or expires_at"):
        draft(ttl=5, expires_at=at(5))
