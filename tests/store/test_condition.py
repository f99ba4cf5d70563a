"""The log tells of a database in trouble: once when it goes, once when it is back, no flood."""

import pytest
from clusters import heard
from twisted.logger import formatEvent

from smsd.store.condition import QUIET, SHORT, Condition
from smsd.store.trouble import Refused

AWAY = "error: the database is away; connecting again until it is back (no route)"
BACK = "info: the database is back"


@pytest.fixture
def said():
    with heard() as events:
        yield lambda: [f"{event['log_level'].name}: {formatEvent(event)}" for event in events]


@pytest.fixture
def condition(clock):
    return Condition(clock.seconds)


def test_away_and_back_are_told_once_each_time(condition, said):
    for _ in range(2):
        for _ in range(6):
            condition.cannot_connect("no route", left=0)
        for _ in range(6):
            condition.connected()
    assert said() == [AWAY, BACK, AWAY, BACK]


def test_a_pool_that_stays_short_of_connections_is_told_of_and_is_not_away(condition, clock, said):
    condition.cannot_connect("too many", left=2)
    clock.advance(SHORT)
    assert said() == []
    for _ in range(3):
        condition.cannot_connect("too many", left=2)
    assert said() == ["warn: no further connection to the database (too many)"]
    condition.connected()
    clock.advance(QUIET)
    condition.cannot_connect("too many", left=5)
    assert len(said()) == 1


def test_a_database_that_does_not_answer_is_away_until_it_can_be_reached(condition, clock, said):
    for _ in range(3):
        condition.silent()
        condition.silent()
        condition.connected()
    silent = "error: the database is away; it does not answer in time"
    assert said() == [silent, BACK]
    clock.advance(QUIET)
    condition.silent()
    assert said() == [silent, BACK, silent]


def test_a_silent_database_that_then_goes_is_told_of_once(condition, said):
    condition.silent()
    condition.cannot_connect("no route", left=3)
    condition.cannot_connect("no route", left=0)
    assert len(said()) == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("53100", "its disk is full (SQLSTATE 53100)"),
        ("25006", "it is read-only (SQLSTATE 25006)"),
        ("XX000", "see its own log (SQLSTATE XX000)"),
    ],
)
def test_what_it_refuses_is_told_once_a_minute(condition, clock, said, state, words):
    told = f"error: the database refuses: {words}"
    for _ in range(3):
        condition.refused(Refused(state))
    assert said() == [told]
    clock.advance(QUIET)
    condition.refused(Refused(state))
    assert said() == [told, told]
