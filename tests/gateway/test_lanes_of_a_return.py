"""Phones that return together ask together, and not so many at a time that nobody else lives."""

from __future__ import annotations

import uuid

import pytest
import pytest_twisted
from nodes import PLAIN, RecordingPhone, soon
from twisted.internet.defer import Deferred

from smsd.gateway.visit import Limits, Visit


def start(coroutine):
    return Deferred.fromCoroutine(coroutine)


def visits(node, many: int) -> list[Visit]:
    return [
        Visit(f"org-{at}", str(uuid.uuid4()), PLAIN, RecordingPhone(), Limits(), node.now)
        for at in range(many)
    ]


@pytest.mark.parametrize(
    ("name", "lane"),
    [
        ("waiting_orgs", lambda node, visit: node.feeding._anything_waits(visit)),
        ("find_owed", lambda node, visit: node.resumption.look(visit)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_statement_answers_so_many_phones_that_a_turn_takes_long(node, name, lane):
    first, *others = visits(node, 402)
    with node.database.held(name, most=1) as gate:
        calls = [start(lane(node, first))]
        await soon(gate.reached)
        calls += [start(lane(node, visit)) for visit in others]
    for call in calls:
        await soon(call)
    assert node.database.run_names == {name: 4}
