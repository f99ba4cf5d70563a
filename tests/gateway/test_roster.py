"""Who is on line and who serves what (contract sections 4, "Takeover", and 5)."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import RecordingPhone
from twisted.internet.task import Clock

from smsd.domain.errors import Flapping
from smsd.domain.records import Sim
from smsd.gateway.roster import Roster
from smsd.gateway.visit import Identity, Limits, Visit

_names = count(1)


def phone(device: str | None = None, org_id: str = "o") -> Visit:
    name = f"session {next(_names)}"
    return Visit(org_id, name, Identity(device), RecordingPhone(), Limits(), clock=lambda: 0.0)


def sim(number: str | None = None, slot: int = 0) -> Sim:
    return Sim(slot=slot, number=number)


@pytest.fixture
def roster(clock):
    return Roster(clock.seconds)


def arrived(roster, *visits) -> None:
    for visit in visits:
        assert roster.arrive(visit) is None


def test_the_first_phone_is_the_first_that_connected_and_not_the_first_that_reported(roster):
    first, second = phone(), phone()
    arrived(roster, first, second)
    roster.report(second, (sim("+1555"), sim(slot=3)))
    assert roster.first("o", "1555") is second
    roster.report(first, (sim(slot=3),))
    assert roster.first("o", "slot:3") is first
    assert roster.first("o", "*") is first
    assert roster.first("o", "1555") is second


def test_nobody_serves_what_nobody_reported(roster):
    arrived(roster, phone())
    assert roster.first("o", "slot:0") is None
    assert roster.first("o", "") is None
    assert roster.first("elsewhere", "*") is None


def test_a_report_replaces_the_one_before(roster):
    one, other = phone(), phone()
    arrived(roster, one, other)
    roster.report(other, (sim(slot=0),))
    roster.report(one, (sim("+1", 0), sim("+2", 1)))
    replaced, heirs = roster.report(one, (sim("+2", 1), sim("+3", 2)))
    assert (replaced, heirs) == ([], {other})
    assert roster.first("o", "1") is None
    assert roster.first("o", "slot:0") is other
    assert [roster.first("o", key) for key in ("2", "3", "slot:1", "slot:2")] == [one] * 4


def test_heirs_are_those_who_serve_now_what_the_phone_that_left_served(roster):
    first, second, third = phone(), phone(), phone()
    arrived(roster, first, second, third)
    roster.report(first, (sim(slot=5),))
    roster.report(third, (sim(slot=5),))
    assert roster.leave(first) == {second, third}
    assert roster.leave(first) == set()
    assert roster.leave(third) == set(), "nobody serves its slot, and it was not the first"
    assert roster.of("o") == [second]


def test_the_same_device_takes_over(roster):
    older, newer = phone("d"), phone("d")
    arrived(roster, older)
    assert roster.arrive(newer) is older
    assert roster.first("o", "device:d") is older, "until it has left"
    roster.leave(older)
    assert roster.of("o") == [newer]
    assert roster.first("o", "device:d") is newer


def test_the_same_device_in_another_org_is_another_phone(roster):
    arrived(roster, phone("d"), phone("d", "other-org"), phone("e"), phone(""), phone())


def test_a_device_id_cannot_be_mistaken_for_a_queue(roster):
    arrived(roster, phone("*"), phone("slot:0"), phone("1555"))
    assert roster.first("o", "1555") is None
    assert roster.first("o", "slot:0") is None


def test_a_number_in_common_takes_over_where_neither_named_a_device(roster):
    older, other, newer = phone(), phone(), phone()
    arrived(roster, older, other, newer)
    roster.report(older, (sim("+1 555", 0), sim("+1666", 1)))
    roster.report(other, (sim("+1777"),))
    assert roster.report(newer, (sim("1-555", 4), sim("+1777", 5)))[0] == [older, other]


@pytest.mark.parametrize(("one", "two"), [("d", None), (None, "d"), ("d", "e")])
def test_a_number_in_common_takes_nothing_over_where_one_named_a_device(roster, one, two):
    older, newer = phone(one), phone(two)
    arrived(roster, older, newer)
    roster.report(older, (sim("+1555"),))
    assert roster.report(newer, (sim("+1555"),)) == ([], set())
    assert roster.first("o", "1555") is older


@pytest.mark.parametrize("number", [None, "", "+", "unknown"])
def test_slots_and_empty_numbers_never_match(roster, number):
    older, newer = phone(), phone()
    arrived(roster, older, newer)
    for visit in (older, newer):
        assert roster.report(visit, (sim(number), sim(number, 1)))[0] == []


def test_a_phone_does_not_take_itself_over(roster):
    one = phone()
    arrived(roster, one)
    for _ in range(20):
        assert roster.report(one, (sim("+1555"), sim("+1555", 1)))[0] == []


def test_the_sixth_takeover_of_a_device_in_a_minute_is_refused(roster, clock):
    older = phone("d")
    arrived(roster, older)
    for _ in range(5):
        newer = phone("d")
        assert roster.arrive(newer) is older
        roster.leave(older)
        older = newer
    late = phone("d")
    with pytest.raises(Flapping) as refused:
        roster.arrive(late)
    assert refused.value.close == 4503
    assert (late.on_line, roster.of("o")) == (False, [older])
    assert roster.arrive(phone("e")) is None
    clock.advance(60)
    assert roster.arrive(late) is older


def test_the_sixth_takeover_of_a_number_in_a_minute_is_refused_and_changes_nothing(roster):
    older = phone()
    arrived(roster, older)
    roster.report(older, (sim("+1555"),))
    for _ in range(5):
        newer = phone()
        roster.arrive(newer)
        assert roster.report(newer, (sim("+1555"),))[0] == [older]
        roster.leave(older)
        older = newer
    late = phone()
    roster.arrive(late)
    with pytest.raises(Flapping):
        roster.report(late, (sim("+1555"), sim("+1777", 1)))
    assert late.sims == ()
    assert roster.first("o", "1555") is older
    assert roster.first("o", "1777") is None
    assert roster.leave(late) == set()


def test_takeovers_are_forgotten(roster, clock):
    arrived(roster, older := phone("d"))
    roster.arrive(phone("d"))
    roster.leave(older)
    clock.advance(60)
    roster.prune()
    assert roster._takeovers == {}


def test_the_roster_may_be_walked_while_phones_leave(roster):
    arrived(roster, *(phone(org_id=org_id) for org_id in ("o", "o", "p", "q")))
    for visit in roster:
        roster.leave(visit)
    assert len(roster) == 0
    assert list(roster) == []


moves = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "leave", "report"]),
        st.integers(0, 4),
        st.lists(
            st.builds(Sim, slot=st.integers(0, 2), number=st.sampled_from([None, "", "1", "2"])),
            max_size=3,
        ),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(moves=moves)
def test_whatever_happens_the_first_connected_serves_and_heirs_are_told(moves):
    """Against a model that is one list in order of connection."""
    clock = Clock()
    roster = Roster(clock.seconds)
    model: list[Visit] = []
    slots: list[Visit | None] = [None] * 5
    keys = ["*", "slot:0", "slot:1", "slot:2", "1", "2"]

    def firsts():
        return {key: next((v for v in model if key in v.keys), None) for key in keys}

    for what, who, sims in moves:
        clock.advance(61)
        visit, before = slots[who], firsts()
        if what == "arrive" and visit is None:
            slots[who] = phone(f"device {who}" if who > 2 else None)
            roster.arrive(slots[who])
            model.append(slots[who])
            continue
        if visit is None or what == "arrive":
            continue
        if what == "leave":
            heirs = roster.leave(visit)
            model.remove(visit)
            slots[who] = None
        else:
            replaced, heirs = roster.report(visit, tuple(sims))
            expected = [
                v
                for v in model
                if v is not visit
                and v.identity.device_id is None is visit.identity.device_id
                and v.numbers & visit.numbers
            ]
            assert sorted(replaced, key=id) == sorted(expected, key=id)
        after = firsts()
        assert {key: roster.first("o", key) for key in keys} == after
        assert heirs == {
            after[key] for key in keys if before[key] is visit and after[key] not in (visit, None)
        }
        for v in model:
            assert {s.sim_key for s in roster.serves(v)} == {k for k in keys if after[k] is v}
