"""Thousands who want to know the same: few statements, and turns of the reactor that end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from nodes import HOME, ORG, SECRET, made_org, soon
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsd.domain.errors import Unavailable
from smsd.gateway.breath import MOST, Breath
from smsd.gateway.doorman import Caller


def start(coroutine):
    return Deferred.fromCoroutine(coroutine)


def crowd(many: int) -> list[Deferred]:
    return [Deferred() for _ in range(many)]


def told(those: list[Deferred]) -> int:
    """How many have been told; those who have must be the first."""
    called = [one.called for one in those]
    assert called == sorted(called, reverse=True)
    return sum(called)


class Turning:
    """A reactor that turns when it is told to; what is asked for in a turn is of the next."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def callLater(self, seconds: float, call: Any) -> None:
        assert seconds == 0
        self.due.append(call)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


@pytest.fixture
def turning() -> Turning:
    return Turning()


# -- breath ----------------------------------------------------------------------------------------


def test_few_are_told_at_once_and_no_timer_is_set(turning):
    breath, few = Breath(turning), crowd(MOST - 1)
    breath.tell(few, "what")
    assert [one.result for one in few] == ["what"] * len(few)
    assert not turning.due


def test_of_many_only_so_many_are_told_in_one_turn_of_the_reactor(turning):
    breath, many = Breath(turning), crowd(2 * MOST + 1)
    breath.tell(many, "what")
    seen = [told(many)]
    while turning.due:
        turning.turn()
        seen.append(told(many))
    assert seen == [MOST, 2 * MOST, 2 * MOST + 1]


def test_small_groups_that_are_told_in_one_turn_are_counted_together(turning):
    breath = Breath(turning)
    groups = [crowd(MOST // 4) for _ in range(8)]
    for at, group in enumerate(groups):
        breath.tell(group, at)
    assert sum(map(told, groups)) == MOST
    turning.turn()
    assert sum(map(told, groups)) == 2 * MOST
    turning.turn()
    assert [group[0].result for group in groups] == list(range(8))


def test_who_is_told_may_make_others_be_told_without_overtaking(turning):
    breath, first, second = Breath(turning), crowd(2), crowd(1)
    order: list[str] = []
    first[0].addCallback(lambda _: breath.tell(second, "second"))
    for one in (first[1], *second):
        one.addCallback(order.append)
    breath.tell(first, "first")
    assert order == ["first", "second"]


def test_a_failure_is_told_in_slices_too(turning):
    breath, many, heard = Breath(turning), crowd(MOST + 1), []
    for one in many:
        one.addErrback(heard.append)
    breath.tell(many, Failure(Unavailable()))
    assert len(heard) == MOST
    turning.turn()
    assert len(heard) == MOST + 1
    turning.turn()


# -- the doorman -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_orgs_and_addresses_that_are_asked_for_at_once_take_a_few_statements(node, database):
    asked = [(f"org-{at % 10}", f"192.0.2.{at}") for at in range(250)]
    for at in range(5):
        await made_org(database, f"org-{at}")
    with node.database.held("recall_address", most=1) as gate:
        calls = [
            start(node.doorman._acquaintance.of(org, address))
            for org, address in [(ORG, HOME), *asked]
        ]
        await soon(gate.reached)
    found = [await soon(call) for call in calls[1:]]
    assert [known is not None for known in found] == [int(org[-1]) < 5 for org, _ in asked]
    assert node.database.run_names == {"recall_address": 3}


@pytest_twisted.ensureDeferred
async def test_who_hangs_up_does_not_take_the_answer_from_others(node, database):
    await made_org(database)
    with node.database.held("recall_address") as gate:
        first, second = (
            start(node.doorman._acquaintance.of(ORG, HOME)),
            start(node.doorman._acquaintance.of(ORG, HOME)),
        )
        await soon(gate.reached)
        first.addErrback(lambda _: None)
        first.cancel()
    assert (await soon(second)) is not None
    assert node.database.run_names == {"recall_address": 1}


@pytest_twisted.ensureDeferred
async def test_all_phones_of_one_address_are_not_let_in_in_one_turn(node, database, clock):
    await made_org(database)
    await node.answer()
    clock.advance(2)
    with node.database.held("recall_address") as gate:
        calls = [start(node.ask(SECRET, HOME)) for _ in range(3 * MOST)]
        await soon(gate.reached)
    turns = set()
    while not all(call.called for call in calls):
        turns.add(sum(call.called for call in calls))
        turn: Deferred = Deferred()
        node.doorman._acquaintance._breath._reactor.callLater(0, turn.callback, None)
        await turn
    assert max(b - a for a, b in pairwise(sorted(turns))) <= MOST
    assert [await call for call in calls] == [Caller(ORG)] * len(calls)
