"""A lane that must not guess: its waiters hear the truth, at once or later."""

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.domain.errors import Unavailable
from smsd.store.batch import OFTEN, QUICK, Batch
from smsd.store.trouble import Contended, DataRefused, Unanswered
from smsd.store.waiter import Certainty, NotYetKnown


class Table:
    """What a lane writes to and looks up in: each call waits until the test ends it."""

    def __init__(self):
        self.written, self.asked = [], []
        self._writes, self._asks = [], []
        self.now = 0.0

    async def write(self, entries):
        self.written.append(list(entries))
        self._writes.append(Deferred())
        await self._writes[-1]
        return stored(entries)

    async def recall(self, entries, batch_id):
        self.asked.append((list(entries), batch_id))
        self._asks.append(Deferred())
        return stored(entries) if await self._asks[-1] else None

    async def insist(self, work, *, late):
        assert late == OFTEN
        while True:
            try:
                return await work()
            except Unavailable:
                if self.over:
                    raise

    over = False

    def commit(self):
        self._writes.pop().callback(None)

    def lose(self, batch_id="id"):
        lost = Unanswered()
        lost.batch_id = batch_id
        self._writes.pop().errback(lost)

    def refuse(self, why):
        self._writes.pop().errback(why)

    def know(self, stored):
        self._asks.pop().callback(stored)

    def cannot_say(self, why=None):
        self._asks.pop().errback(why or Unavailable())

    @property
    def idle(self):
        return not (self._writes or self._asks)


def stored(entries):
    return [f"stored {entry}" for entry in entries]


@pytest.fixture
def table():
    table = Table()
    yield table
    assert table.idle, "something was left under way"


@pytest.fixture
def lane(table):
    return Batch("test", table.write, certainty=Certainty(table.recall, table))


def put(lane, *entries):
    return [lane.put(entry, org_id="acme") for entry in entries]


def outcome(answer):
    """The value or the error of an answer, None where there is none yet."""
    seen = []
    answer.addBoth(lambda r: seen.append(r.value if isinstance(r, Failure) else r))
    return seen[0] if seen else None


def in_doubt(table, lane, *entries):
    """These were written, and nobody can say what became of them: how to hear the truth."""
    first, *behind = put(lane, "first", *entries)
    table.commit()
    assert outcome(first) == "stored first"
    table.lose()
    table.cannot_say()
    doubts = [outcome(answer) for answer in behind]
    assert {type(doubt) for doubt in doubts} == {NotYetKnown}
    assert all(doubt.retry_after for doubt in doubts)
    return [doubt.truth for doubt in doubts]


def test_a_batch_that_was_stored_after_all_is_answered_as_if_nothing_had_been(table, lane):
    first, second = put(lane, "a", "b")
    table.lose("its id")
    assert table.asked == [(["a"], "its id")]
    table.know(stored=True)
    assert outcome(first) == "stored a"
    table.commit()
    assert outcome(second) == "stored b"
    assert table.written == [["a"], ["b"]]


def test_a_batch_that_is_void_is_stored_again_before_those_behind_it(table, lane):
    first, second = put(lane, "a", "b")
    table.lose()
    table.know(stored=False)
    assert table.written == [["a"], ["a"]]
    table.commit()
    assert outcome(first) == "stored a"
    table.commit()
    assert outcome(second) == "stored b"


def test_a_batch_that_is_void_twice_is_unavailable(table, lane):
    (first,) = put(lane, "a")
    for _ in range(2):
        table.lose()
        table.know(stored=False)
    assert type(outcome(first)) is Unavailable
    assert table.written == [["a"], ["a"]]


def test_a_batch_that_is_void_after_a_while_is_unavailable_at_once(table, lane):
    (first,) = put(lane, "a")
    table.now += QUICK + 0.01
    table.lose()
    table.know(stored=False)
    assert type(outcome(first)) is Unavailable
    assert table.written == [["a"]]


def test_a_batch_that_is_refused_when_it_is_stored_again_is_parted(table, lane):
    _, *both = put(lane, "first", "a", "b")
    table.commit()
    table.lose()
    table.know(stored=False)
    table.refuse(DataRefused(None, "22P05"))
    table.commit()
    table.refuse(DataRefused("a_rule", "23514"))
    assert outcome(both[0]) == "stored a"
    assert isinstance(outcome(both[1]), DataRefused)


@pytest.mark.parametrize("why", [Unavailable(), Contended(), Unanswered()])
def test_while_nobody_knows_the_waiters_hear_so_and_all_others_are_sent_away(table, lane, why):
    first, behind = put(lane, "a", "b")
    table.lose()
    table.cannot_say(why)
    doubt = outcome(first)
    assert type(doubt) is NotYetKnown
    assert type(outcome(behind)) is Unavailable
    (late,) = put(lane, "c")
    assert type(outcome(late)) is Unavailable
    table.cannot_say(why)
    assert not doubt.truth.called
    table.know(stored=True)
    assert outcome(doubt.truth) == ["stored a"]
    (after,) = put(lane, "d")
    table.commit()
    assert outcome(after) == "stored d"
    assert table.written == [["a"], ["d"]]


def test_what_was_in_doubt_and_is_void_is_not_stored_again(table, lane):
    """Who was told so may have tried again by himself."""
    truths = in_doubt(table, lane, "a", "b")
    table.know(stored=False)
    assert [outcome(truth) for truth in truths] == [[], []]
    assert len(table.written) == 2
    (after,) = put(lane, "c")
    table.commit()
    assert outcome(after) == "stored c"


def test_each_hears_the_truth_of_its_own_entry_and_it_may_be_ignored(table, lane):
    _, truth = in_doubt(table, lane, "a", "b")
    table.know(stored=True)
    assert outcome(truth) == ["stored b"]


def test_what_is_put_from_inside_an_answer_in_doubt_is_sent_away(table, lane):
    nested = []
    (first,) = put(lane, "a")
    first.addErrback(lambda _: nested.extend(put(lane, "b")))
    table.lose()
    table.cannot_say()
    assert type(outcome(nested[0])) is Unavailable
    table.know(stored=True)
    assert table.written == [["a"]]


@pytest.mark.parametrize("why", [Unavailable(), Contended(), Unanswered()])
def test_a_gateway_that_ends_asks_no_longer_stores_nothing_again_and_is_drained(table, lane, why):
    lane.put("first", org_id="acme")
    both = [lane.put("a", org_id="acme"), lane.put("b", org_id="beta")]
    table.commit()
    table.lose()
    table.cannot_say(why)
    doubts = [outcome(answer) for answer in both]
    drained = Deferred.fromCoroutine(lane.drained())
    table.over = True
    assert not drained.called
    table.cannot_say(why)
    assert [outcome(doubt.truth) for doubt in doubts] == [[], []]
    assert drained.called
    assert table.written == [["first"], ["a", "b"]]


def test_a_bug_in_the_look_up_leaves_nobody_waiting(table, lane, logged_failures):
    (truth,) = in_doubt(table, lane, "a")
    table.cannot_say(ZeroDivisionError())
    assert outcome(truth) == []
    assert len(logged_failures.taken(ZeroDivisionError)) == 1
    (after,) = put(lane, "b")
    table.commit()
    assert outcome(after) == "stored b"


def test_without_an_id_or_a_certainty_a_lost_answer_is_only_unavailable(table, lane):
    (first,) = put(lane, "a")
    table.lose(None)
    assert type(outcome(first)) is Unanswered
    (second,) = put(Batch("plain", table.write), "b")
    table.lose()
    assert type(outcome(second)) is Unanswered
    assert table.asked == []


def test_a_part_of_a_refused_batch_may_be_lost_too(table, lane):
    _, *both = put(lane, "first", "a", "b")
    table.commit()
    table.refuse(DataRefused(None, "22P05"))
    table.lose()
    table.cannot_say()
    doubt = outcome(both[0])
    assert type(doubt) is NotYetKnown
    assert type(outcome(both[1])) is Unavailable
    table.know(stored=True)
    assert outcome(doubt.truth) == ["stored a"]
    assert table.written[1:] == [["a", "b"], ["a"]]
