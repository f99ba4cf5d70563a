"""However many ask at once, a few read at a time, and those who ask the same read together."""

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail

from smsd.domain.errors import Unavailable
from smsd.gateway.readings import Readings


class Table:
    """Something to read: notes who begins, and answers when the test says so."""

    def __init__(self):
        self.begun, self.answers = [], {}

    def reading(self, what):
        def read():
            self.begun.append(what)
            self.answers[what] = Deferred()
            return self.answers[what]

        return read


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def readings(clock):
    return Readings(clock, 2)


def asked(readings, what, read):
    """What was asked for, and the list that its answer will stand in."""
    found = []
    asking = Deferred.fromCoroutine(readings.take(what, read))
    asking.addBoth(lambda answer: found.append(getattr(answer, "value", answer)))
    return asking, found


def test_no_more_than_so_many_read_at_once_and_they_come_in_order(readings, table):
    found = [asked(readings, what, table.reading(what))[1] for what in "abcd"]
    assert table.begun == ["a", "b"]
    table.answers["b"].callback("B")
    assert (found, table.begun) == ([[], ["B"], [], []], ["a", "b", "c"])
    table.answers["a"].callback("A")
    assert table.begun == ["a", "b", "c", "d"]


def test_those_who_ask_the_same_before_it_is_read_share_the_reading(readings, table):
    for what in "ab":
        asked(readings, what, table.reading(what))
    found = [asked(readings, "c", table.reading("c"))[1] for _ in range(50)]
    table.answers["a"].callback("A")
    assert table.begun == ["a", "b", "c"]
    table.answers["c"].callback("C")
    assert found == [["C"]] * 50
    table.answers["b"].callback("B")
    assert table.begun == ["a", "b", "c"]


def test_a_reading_that_has_begun_is_not_shared_for_it_may_have_missed_something(readings, table):
    _, early = asked(readings, "a", table.reading("a"))
    began = table.answers["a"]
    _, late = asked(readings, "a", table.reading("a"))
    began.callback("old")
    assert (early, late) == (["old"], [])
    table.answers["a"].callback("new")
    assert late == ["new"]


def test_nobody_reads_for_those_who_have_gone(readings, table):
    for what in "ab":
        asked(readings, what, table.reading(what))
    asking, found = asked(readings, "c", table.reading("c"))
    asking.cancel()
    assert [type(one) for one in found] == [CancelledError]
    _, stays = asked(readings, "d", table.reading("d"))
    table.answers["a"].callback("A")
    assert table.begun == ["a", "b", "d"]
    table.answers["d"].callback("D")
    assert stays == ["D"]


def test_what_goes_wrong_is_told_to_all_who_share_it_and_the_next_reads(readings, table):
    for what in "ab":
        asked(readings, what, table.reading(what))
    both = [asked(readings, "c", table.reading("c"))[1] for _ in range(2)]
    table.answers["a"].callback("A")
    table.answers["c"].errback(Unavailable())
    assert [type(one) for (one,) in both] == [Unavailable] * 2
    _, after = asked(readings, "d", table.reading("d"))
    table.answers["d"].callback("D")
    assert after == ["D"]


def test_thousands_that_fail_at_once_do_not_call_each_other(readings, table, clock):
    for what in "ab":
        asked(readings, what, table.reading(what))
    found = [asked(readings, at, lambda: fail(Unavailable()))[1] for at in range(5000)]
    table.answers["a"].callback("A")
    while not all(found):
        clock.advance(0)
    assert {type(one) for (one,) in found} == {Unavailable}
