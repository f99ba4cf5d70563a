"""The arithmetic of one phone's two limits (contract section 3, "Handing over")."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nodes import EPOCH, RecordingPhone
from twisted.internet.task import Clock

from smsd.domain.records import Sim, Ticket
from smsd.gateway.visit import Identity, Limits, Visit


def ticket(id_: int) -> Ticket:
    return Ticket(
        org_id="o", id=id_, to="+1999", body="a private text", sim=None, ref="r", attempt=1
    )


def visit(clock: Clock, window: int = 64, unanswered: int = 100, **more) -> Visit:
    phone = RecordingPhone()
    made = Visit(
        "o",
        "s",
        more.pop("identity", Identity()),
        phone,
        Limits(window, unanswered),
        clock=lambda: EPOCH + clock.seconds(),
        on_line=True,
        **more,
    )
    phone.visit = made
    return made


class Places(RuleBasedStateMachine):
    """A phone that is given as much as it may have, and answers as it likes."""

    @initialize(window=st.integers(1, 5), unanswered=st.integers(1, 5))
    def begin(self, window, unanswered):
        self.clock = Clock()
        self.limits = Limits(window, unanswered)
        self.visit = visit(self.clock, window, unanswered)
        self.phone = self.visit.phone
        self.next_id = 1
        self.written: dict[int, float] = {}
        self.marks: dict[int, int] = {}
        self.receipted: set[int] = set()
        self.settled: set[int] = set()
        self.answered: set[int] = set()
        self.given: set[int] = set()

    def note(self) -> None:
        """Look at what has been written since."""
        for id_ in self.phone.held:
            if id_ not in self.written:
                self.written[id_] = self.clock.seconds()
                self.marks[id_] = self.phone.mark

    @property
    def unreceipted(self) -> int:
        return len([id_ for id_ in self.given if id_ not in self.receipted])

    @property
    def unanswered(self) -> int:
        patient = [
            id_
            for id_ in self.given - self.settled - self.answered
            if self.clock.seconds() - self.written.get(id_, self.clock.seconds()) < 60
        ]
        return len(patient)

    @rule(wanted=st.integers(1, 9))
    def give(self, wanted):
        ids = range(self.next_id, self.next_id + min(wanted, self.visit.places))
        self.next_id = ids.stop
        self.given.update(ids)
        self.visit.give([ticket(id_) for id_ in ids])
        self.note()

    @rule()
    def pause(self):
        self.phone.writable = False

    @rule()
    def resume(self):
        self.phone.writable = True
        self.visit.write_held()
        self.note()

    @rule(mark=st.integers(0, 50))
    def receipt(self, mark):
        self.visit.receipt(mark)
        self.receipted.update(id_ for id_, m in self.marks.items() if m <= mark)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), stored=st.booleans())
    def result(self, data, stored):
        id_ = data.draw(st.sampled_from(sorted(self.written) or [0]))
        self.visit.answered(id_)
        if id_ in self.written and id_ not in self.settled:
            self.receipted.add(id_)
            self.answered.add(id_)
        if stored:
            assert self.visit.settled(id_) is (id_ in self.given - self.settled)
            self.settled.update({id_} & self.given)

    @rule(seconds=st.sampled_from([1, 30, 59, 60, 61]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(many=st.integers(0, 3))
    def promise(self, many):
        """Places may be promised, never more than there are, and are taken back."""
        many = min(many, self.visit.places)
        before = self.visit.places
        self.visit.promised += many
        assert self.visit.places == before - many
        self.visit.promised -= many

    @invariant()
    def never_more_than_the_limits(self):
        if hasattr(self, "visit"):
            assert self.unreceipted <= self.limits.window
            assert self.unanswered <= self.limits.unanswered

    @invariant()
    def places_are_what_is_free(self):
        if hasattr(self, "visit"):
            free = min(
                self.limits.window - self.unreceipted, self.limits.unanswered - self.unanswered
            )
            assert self.visit.places == (free if self.phone.writable else 0)

    @invariant()
    def pushed_once_and_in_order(self):
        if hasattr(self, "visit"):
            assert self.phone.pushed == sorted(set(self.phone.pushed))


Places.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_machine_of_places():
    Places.TestCase("runTest").runTest()


def test_one_ping_goes_behind_each_write_and_its_pong_is_the_receipt_for_all_before_it():
    it = visit(Clock(), window=10)
    for id_ in (1, 2, 3):
        it.give([ticket(id_), ticket(id_ + 10)])
    assert it.phone.mark == 3
    it.receipt(2)
    known = {each.id: each.received is not None for each in it.unsettled()}
    assert known == {1: True, 11: True, 2: True, 12: True, 3: False, 13: False}
    it.receipt(1)
    it.receipt(3)
    assert all(each.received is not None for each in it.unsettled())


def test_an_answer_that_is_not_stored_has_no_place_and_is_still_waited_for():
    it = visit(Clock(), window=2, unanswered=1)
    it.give([ticket(1)])
    assert it.places == 0
    it.answered(1, "another ref than its own")
    assert it.places == 0, "that was no answer"
    it.answered(1, ticket(1).ref)
    assert (it.places, it.awaits_results) == (1, True)
    assert it.settled(1)
    assert (it.places, it.awaits_results) == (1, False)


def test_a_word_of_the_phone_about_a_ticket_is_the_receipt_for_that_ticket_only():
    it = visit(Clock(), window=3)
    it.give([ticket(1), ticket(2), ticket(3)])
    assert it.places == 0
    it.heard_of(2)
    it.heard_of(2)
    it.heard_of(99)
    assert it.places == 1
    assert [each.id for each in it.unsettled() if each.received is not None] == [2]


def test_what_is_known_of_pushes_is_in_milliseconds_and_says_what_was_never_written():
    clock = Clock()
    it = visit(clock)
    it.give([ticket(1)])
    clock.advance(1.5)
    it.receipt(1)
    it.phone.writable = False
    it.give([ticket(2)])
    ms = int(EPOCH * 1000)
    assert [(each.id, each.pushed, each.received) for each in it.unsettled()] == [
        (1, ms, ms + 1500),
        (2, None, None),
    ]


def test_a_phone_that_is_off_line_or_paused_has_no_places():
    it = visit(Clock())
    it.on_line = False
    assert it.places == 0
    it.on_line, it.phone.writable = True, False
    assert it.places == 0


def test_a_phone_takes_new_tickets_only_when_nothing_older_can_wait_for_it():
    it = visit(Clock(), backlog=False)
    assert it.takes_now
    it.feeding = True
    assert not it.takes_now
    it.feeding, it.backlog = False, True
    assert not it.takes_now


def test_a_phone_serves_anyone_its_slots_and_its_numbers():
    sims = (Sim(slot=0, number="+1 555"), Sim(slot=1), Sim(slot=1, number=""))
    assert visit(Clock(), sims=sims).keys == ["*", "slot:0", "slot:1", "1555"]


def test_the_sim_that_takes_a_ticket_is_told_only_where_there_is_one():
    one = Sim(slot=3, number="+1 555")
    for key in ("*", "slot:3", "1555"):
        served = visit(Clock(), sims=(one,)).serving(key)
        assert (served.sim_slot, served.sim_number, served.sim_digits) == (3, "+1 555", "1555")
    both = visit(Clock(), sims=(one, Sim(slot=4)))
    assert both.serving("*").sim_slot is None
    assert (both.serving("slot:4").sim_slot, both.serving("slot:4").sim_number) == (4, None)
    assert visit(Clock()).serving("*").sim_slot is None


def test_receipts_and_results_are_timed_from_the_push_and_each_counts_once():
    clock = Clock()
    phone = visit(clock)
    phone.give([ticket(1), ticket(2)])
    phone.give([ticket(3)])
    clock.advance(2)
    phone.receipt(1)
    phone.heard_of(1)
    phone.heard_of(3)
    clock.advance(5)
    assert phone.settled(1)
    assert not phone.settled(1)
    phone.given_up({2, 3})
    tally = phone.tally
    assert (tally.pushes, tally.receipts.at_most[-1], tally.receipts.total) == (3, 3, 6.0)
    assert (tally.results.at_most[-1], tally.results.total) == (1, 7.0)
