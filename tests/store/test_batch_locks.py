"""A lane that meets locks: a locked org delays few, a locked table nobody for long."""

import pytest
from twisted.internet.defer import Deferred

from smsd.store.batch import LOCKED, Batch
from smsd.store.trouble import Contended


class Lane:
    """A lane of entries that are their org's name; ``held`` orgs are locked."""

    def __init__(self, held):
        self.statements = []
        self._held = held
        self._gate = Deferred()
        self._lane = Batch("test", self._write)
        self.put("gate")

    async def _write(self, orgs):
        self.statements.append(list(orgs))
        if orgs == ["gate"]:
            await self._gate
        if self._held & set(orgs):
            raise Contended()
        return list(orgs)

    def put(self, org_id, seen=None):
        told = {} if seen is None else seen
        answer = self._lane.put(org_id, org_id=org_id)
        answer.addBoth(lambda result: told.setdefault(org_id, getattr(result, "value", result)))
        return answer

    def go(self):
        self._gate.callback(None)


ORGS = [f"org-{n}" for n in range(20)]


@pytest.mark.parametrize("held", [ORGS[0], ORGS[7], ORGS[-1]])
def test_one_locked_org_costs_its_neighbours_two_waits_and_nothing_else(held):
    lane, told = Lane({held}), {}
    for org in ORGS:
        lane.put(org, told)
    lane.go()
    assert isinstance(told.pop(held), Contended)
    assert sorted(told) == sorted(set(ORGS) - {held})
    assert all(answer == org for org, answer in told.items())


def test_a_locked_table_is_waited_for_a_few_times_and_not_once_for_each_org():
    lane, told = Lane(set(ORGS)), {}
    for org in ORGS:
        lane.put(org, told)
    lane.go()
    assert all(isinstance(told[org], Contended) for org in ORGS)
    assert len(lane.statements) == 1 + 1 + LOCKED


def test_the_next_batch_is_tried_afresh():
    held = set(ORGS)
    lane, told = Lane(held), {}
    for org in ORGS:
        lane.put(org)
    lane.go()
    held.clear()
    held.add("a")
    lane.put("a", told)
    lane.put("b", told)
    assert isinstance(told["a"], Contended)
    assert told["b"] == "b"
