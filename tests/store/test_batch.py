"""Group commit: together, in order, bounded, and nobody pays for a neighbour."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from smsd.domain.cause import caused_by, request_id
from smsd.domain.errors import Unavailable
from smsd.store import batch
from smsd.store.batch import Batch
from smsd.store.trouble import Contended, DataRefused


class Table:
    """What a lane writes to: each statement waits until the test lets it end."""

    def __init__(self):
        self.statements = []
        self._flights = []

    async def write(self, entries):
        flight = Deferred()
        self.statements.append(list(entries))
        self._flights.append(flight)
        await flight
        return [f"stored {entry}" for entry in entries]

    @property
    def in_flight(self):
        return len(self._flights)

    def commit(self):
        self._flights.pop(0).callback(None)

    def refuse(self, why):
        self._flights.pop(0).errback(why)


@pytest.fixture
def table():
    table = Table()
    yield table
    assert table.in_flight == 0, "a statement was left in flight"


def lane(table, **bounds):
    return Batch("test", table.write, **bounds)


def put(lane, *entries, org_id="acme"):
    return [lane.put(entry, org_id=org_id) for entry in entries]


def outcome(answer):
    """The value or the error of an answer, None where there is none yet."""
    seen = []
    answer.addBoth(lambda result: seen.append(getattr(result, "value", result)))
    return seen[0] if seen else None


def outcomes(answers):
    return [outcome(answer) for answer in answers]


def test_what_waits_while_a_statement_is_in_flight_goes_out_together_in_the_next(table):
    hot = lane(table)
    answers = put(hot, "a", "b", "c")
    assert (table.statements, table.in_flight) == ([["a"]], 1)
    table.commit()
    assert table.statements == [["a"], ["b", "c"]]
    assert [a.called for a in answers] == [True, False, False]
    table.commit()
    assert outcomes(answers) == ["stored a", "stored b", "stored c"]


def served(table, callers, calls=400):
    """The sizes of the statements for callers that ask again when they are answered."""
    hot, left = lane(table), calls

    def ask(_=None):
        nonlocal left
        if left:
            left -= 1
            hot.put(left, org_id="acme").addCallback(ask)

    for _ in range(callers):
        ask()
    while table.in_flight:
        table.commit()
    assert sorted(entry for statement in table.statements for entry in statement) == [*range(calls)]
    return [len(statement) for statement in table.statements]


def test_many_callers_that_ask_again_come_in_two_even_halves(table):
    assert served(table, 40)[:8] == [1, 39, 1, 20, 20, 20, 20, 20]


def test_few_callers_that_ask_again_stay_as_they_are(table):
    few = batch.HALVED_FROM - 1
    assert served(table, few)[:6] == [1, few - 1, 1, few - 1, 1, few - 1]


def test_many_that_call_once_go_together(table):
    hot = lane(table)
    for _ in range(2):
        put(hot, *range(40))
        table.commit()
        table.commit()
    assert [len(statement) for statement in table.statements] == [1, 39, 1, 39]


def test_an_idle_lane_writes_at_once(table):
    hot = lane(table)
    for entry in "ab":
        (answer,) = put(hot, entry)
        table.commit()
        assert outcome(answer) == f"stored {entry}"


def test_a_statement_carries_so_many_rows_and_the_rest_waits_for_the_next(table):
    hot = lane(table, rows=3)
    put(hot, "first")
    answers = [hot.put(n, org_id="acme", rows=rows) for n, rows in enumerate([2, 1, 2, 5, 1])]
    for _ in range(5):
        table.commit()
    assert table.statements == [["first"], [0, 1], [2], [3], [4]]
    assert all(answer.called for answer in answers)


def test_a_statement_carries_so_many_bytes(table):
    hot = lane(table)
    put(hot, "first")
    for n, size in enumerate([batch.BYTES, 1, batch.BYTES - 1, 2 * batch.BYTES]):
        hot.put(n, org_id="acme", size=size)
    for _ in range(4):
        table.commit()
    assert table.statements == [["first"], [0], [1, 2], [3]]


@pytest.mark.parametrize(
    ("most", "weight"), [("MOST_ROWS", "rows"), ("MOST_BYTES", "size")], ids=["rows", "bytes"]
)
def test_a_full_lane_refuses_at_once_and_takes_more_when_it_has_room(table, most, weight):
    hot = lane(table)
    put(hot, "first")
    whole = hot.put("whole", org_id="acme", **{weight: getattr(batch, most)})
    refused = hot.put("refused", org_id="acme", **{weight: 1})
    assert isinstance(outcome(refused), Unavailable)
    table.commit()
    later = hot.put("later", org_id="acme", **{weight: 1})
    table.commit()
    table.commit()
    assert outcomes([whole, later]) == ["stored whole", "stored later"]


def test_one_entry_greater_than_the_lane_is_taken_when_nothing_else_waits(table):
    hot = lane(table)
    (first,) = put(hot, "first")
    huge = hot.put("huge", org_id="acme", rows=batch.MOST_ROWS + 1)
    table.commit()
    table.commit()
    assert outcomes([first, huge]) == ["stored first", "stored huge"]


class Rules:
    """A table that answers at once, by rules: what it refuses, which orgs are held."""

    def __init__(self, *, refused=(), held=(), away_after=None):
        self.statements = []
        self._refused, self._held, self._away_after = set(refused), set(held), away_after

    async def write(self, entries):
        self.statements.append(list(entries))
        if self._away_after is not None and len(self.statements) > self._away_after:
            raise Unavailable()
        if self._refused & set(entries):
            raise DataRefused("a_rule", "23514")
        if self._held & {org_id for org_id, _ in entries}:
            raise Contended()
        return [f"stored {org_id}{n}" for org_id, n in entries]


def filled(rules, entries):
    """A lane with these entries waiting behind one that is in flight; let it go by its answer."""
    gate = Deferred()

    async def write(batched):
        if batched == ["gate"]:
            await gate
            return [None]
        return await rules.write(batched)

    hot = Batch("test", write)
    hot.put("gate", org_id="gate")
    answers = [hot.put(entry, org_id=entry[0]) for entry in entries]
    return hot, gate, answers


@pytest.mark.parametrize("culprits", [[0], [63], [5, 6], [0, 31, 32, 63], range(64)])
def test_a_bad_entry_fails_alone(culprits):
    entries = [("a", n) for n in range(64)]
    rules = Rules(refused=[entries[n] for n in culprits])
    _, gate, answers = filled(rules, entries)
    gate.callback(None)
    told = outcomes(answers)
    assert {n for n, one in enumerate(told) if isinstance(one, DataRefused)} == set(culprits)
    assert all(one == f"stored a{n}" for n, one in enumerate(told) if n not in culprits)


def test_one_culprit_among_many_costs_few_statements():
    entries = [("a", n) for n in range(1024)]
    rules = Rules(refused=[("a", 700)])
    _, gate, _answers = filled(rules, entries)
    gate.callback(None)
    assert len(rules.statements) <= 1 + 2 * 10
    assert isinstance(outcome(_answers[700]), DataRefused)


def test_one_org_whose_rows_are_held_does_not_hold_up_the_others():
    entries = [(org_id, n) for n in range(3) for org_id in "abc"]
    rules = Rules(held="b")
    _, gate, answers = filled(rules, entries)
    gate.callback(None)
    for (org_id, n), told in zip(entries, outcomes(answers), strict=True):
        assert isinstance(told, Contended) if org_id == "b" else told == f"stored {org_id}{n}"
    assert len(rules.statements) == 1 + 3


def test_a_held_org_and_a_bad_entry_in_one_batch():
    entries = [(org_id, n) for n in range(4) for org_id in "abc"]
    rules = Rules(held="b", refused=[("a", 2)])
    _, gate, answers = filled(rules, entries)
    gate.callback(None)
    for (org_id, n), told in zip(entries, outcomes(answers), strict=True):
        if org_id == "b":
            assert isinstance(told, Contended)
        elif (org_id, n) == ("a", 2):
            assert isinstance(told, DataRefused)
        else:
            assert told == f"stored {org_id}{n}"


def test_a_database_that_is_away_fails_those_behind_too(table):
    hot = lane(table)
    first, *behind = put(hot, "a", "b", "c")
    table.refuse(Unavailable("gone", retry_after=5))
    assert all(outcome(answer).detail == "gone" for answer in (first, *behind))
    (after,) = put(hot, "d")
    table.commit()
    assert outcome(after) == "stored d"
    assert table.statements == [["a"], ["d"]]


def test_a_database_that_goes_away_among_the_parts_of_a_batch_is_not_asked_for_each():
    entries = [("a", n) for n in range(64)]
    rules = Rules(refused=[("a", 63)], away_after=3)
    _, gate, answers = filled(rules, entries)
    gate.callback(None)
    told = outcomes(answers)
    assert len(rules.statements) == 4
    assert told[0] == "stored a0"
    assert {type(one) for one in told[48:]} == {Unavailable}


def test_a_lane_has_all_its_room_again_after_the_database_was_away(table):
    hot = lane(table)
    (first,) = put(hot, "a")
    behind = hot.put("b", org_id="acme", rows=batch.MOST_ROWS, size=batch.MOST_BYTES)
    table.refuse(Unavailable())
    assert all(isinstance(one, Unavailable) for one in outcomes([first, behind]))
    put(hot, "c")
    again = hot.put("d", org_id="acme", rows=batch.MOST_ROWS, size=batch.MOST_BYTES)
    table.commit()
    table.commit()
    assert outcome(again) == "stored d"


def test_a_bug_fails_its_own_batch_is_logged_and_the_lane_goes_on(table, logged_failures):
    hot = lane(table)
    first, second = put(hot, "a", "b")
    table.refuse(ZeroDivisionError())
    assert isinstance(outcome(first), ZeroDivisionError)
    table.commit()
    assert outcome(second) == "stored b"
    assert len(logged_failures.taken(ZeroDivisionError)) == 1


@pytest.mark.parametrize("answers", [[], ["one"], ["one", "two", "three"]])
def test_a_write_that_answers_too_few_or_too_many_is_a_bug_and_answers_nobody(
    answers, logged_failures
):
    gates = [Deferred(), Deferred()]

    async def write(entries):
        await gates[0] if len(entries) == 1 else None
        return ["fine"] if len(entries) == 1 else answers

    hot = Batch("test", write)
    first, *both = put(hot, "a", "b", "c")
    gates[0].callback(None)
    assert outcome(first) == "fine"
    assert all(isinstance(outcome(answer), ValueError) for answer in both)
    assert outcome(put(hot, "d")[0]) == "fine"
    assert len(logged_failures.taken(ValueError)) == 1


def test_drained_waits_for_what_is_there_and_for_what_comes_meanwhile(table):
    hot = lane(table)
    assert Deferred.fromCoroutine(hot.drained()).called
    put(hot, "a", "b")
    drained = Deferred.fromCoroutine(hot.drained())
    table.commit()
    put(hot, "c")
    table.commit()
    assert not drained.called
    table.commit()
    assert drained.called
    assert Deferred.fromCoroutine(hot.drained()).called


def test_drained_waits_for_the_parts_of_a_refused_batch(table):
    hot = lane(table)
    answers = put(hot, "a", "b", "c")
    table.commit()
    table.refuse(DataRefused(None, "22P05"))
    drained = Deferred.fromCoroutine(hot.drained())
    assert table.statements[2:] == [["b"]]
    table.commit()
    assert not drained.called
    table.commit()
    assert drained.called
    assert outcomes(answers) == ["stored a", "stored b", "stored c"]


def test_parts_of_a_refused_batch_go_in_order_and_before_those_who_came_later(table):
    hot = lane(table)
    put(hot, "first", "a", "b", "c", "d")
    table.commit()
    put(hot, "later")
    table.refuse(DataRefused(None, "22P05"))
    table.refuse(DataRefused(None, "22P05"))
    for _ in range(4):
        table.commit()
    assert table.statements[2:] == [["a", "b"], ["a"], ["b"], ["c", "d"], ["later"]]


def test_who_no_longer_waits_is_stored_all_the_same(table):
    hot = lane(table)
    first, second, third = put(hot, "a", "b", "c")
    for answer in (first, second):
        answer.cancel()
        assert isinstance(outcome(answer), CancelledError)
    table.commit()
    table.commit()
    assert table.statements == [["a"], ["b", "c"]]
    assert outcome(third) == "stored c"


def test_who_no_longer_waits_does_not_hear_of_a_failure_either(table):
    hot = lane(table)
    first, second = put(hot, "a", "b")
    second.cancel()
    assert isinstance(outcome(second), CancelledError)
    table.refuse(Unavailable())
    assert isinstance(outcome(first), Unavailable)


def test_writes_that_end_at_once_are_answered_at_once_and_do_not_nest():
    rules = Rules()
    hot, gate, (first,) = filled(rules, [("a", -1)])
    left = list(range(3000))

    def another(_):
        if left:
            hot.put(("a", left.pop()), org_id="a").addCallback(another)

    first.addCallback(another)
    gate.callback(None)
    assert left == []
    assert len(rules.statements) == 3001
    assert Deferred.fromCoroutine(hot.drained()).called


def test_the_next_statement_is_on_its_way_when_those_of_the_last_one_hear_of_it(table):
    hot = lane(table)
    nested = []
    first, second = put(hot, "a", "b")
    first.addCallback(lambda _: nested.extend(put(hot, "c")))
    table.commit()
    assert table.statements == [["a"], ["b"]]
    table.commit()
    assert table.statements == [["a"], ["b"], ["c"]]
    table.commit()
    assert outcomes([second, *nested]) == ["stored b", "stored c"]


def test_what_is_put_from_inside_the_last_answer_is_stored_too(table):
    hot = lane(table)
    nested = []
    (only,) = put(hot, "a")
    only.addCallback(lambda _: nested.extend(put(hot, "b")))
    table.commit()
    table.commit()
    assert outcomes(nested) == ["stored b"]


def test_an_answer_whose_reader_fails_harms_nobody(table):
    hot = lane(table)
    first, second = put(hot, "a", "b")

    def fail(_):
        raise ZeroDivisionError

    first.addCallback(fail)
    table.commit()
    table.commit()
    assert outcome(second) == "stored b"
    assert isinstance(outcome(first), ZeroDivisionError)


def test_a_batch_is_no_requests_doing_though_one_of_them_came_first():
    seen = []

    async def write(entries):
        seen.append(request_id())
        return entries

    caused_by(b"first", put, Batch("test", write), "a")
    assert seen == [b""]


def test_every_batch_is_timed_with_its_rows_and_those_that_fail_are_counted(table):
    hot = lane(table, clock=iter([0.0, 2.0, 5.0, 6.0]).__next__)
    answers = put(hot, "a", "b", "c")
    assert hot.waiting == 2
    table.commit()
    table.refuse(Unavailable())
    assert (hot.tally.seconds.at_most[-1], hot.tally.seconds.total) == (2, 3.0)
    assert (hot.tally.rows, hot.tally.failures, hot.waiting) == (3, 1, 0)
    assert [type(each).__name__ for each in outcomes(answers)] == ["str", *["Unavailable"] * 2]
