"""One line for each phone that comes, with its SIMs, and one for each that goes."""

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from nodes import made_org
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from smsd.domain.records import Sim
from smsd.gateway.arrivals import WITHIN
from smsd.gateway.visit import Identity

SIM = Sim(slot=0, number="+15550001")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """What the log says of phones."""
    seen: list[Any] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("smsd.gateway.arrivals"):
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def words(lines):
    return [formatEvent(line).partition(" of myorg ")[2] for line in lines]


@pytest_twisted.ensureDeferred
async def test_a_phone_is_told_of_once_when_it_has_said_what_it_holds(node, org, lines, clock):
    phone = await node.come(None, SIM, Sim(slot=1), identity=Identity("phone-77"))
    await node.attendance.report(phone.visit, [SIM])
    clock.advance(WITHIN)
    node.attendance.tick()
    node.attendance.end(phone.visit, "a test")
    node.attendance.end(phone.visit, "again")
    await node.settled()
    assert words(lines) == ["is on line; SIMs: 2", "is gone: a test"]
    assert {(line["phone"], line["session"]) for line in lines} == {
        ("******77", phone.visit.session_id)
    }


@pytest_twisted.ensureDeferred
async def test_a_phone_that_says_nothing_is_told_of_in_time(node, org, lines, clock):
    await node.come()
    clock.advance(WITHIN - 1)
    node.attendance.tick()
    assert lines == []
    clock.advance(1)
    node.attendance.tick()
    node.attendance.tick()
    assert words(lines) == ["is on line; SIMs: 0"]
    assert lines[0]["phone"] == "?"


@pytest_twisted.ensureDeferred
async def test_a_phone_that_goes_at_once_has_both_its_lines(node, org, lines):
    phone = await node.come()
    node.attendance.end(phone.visit, "a test")
    await node.settled()
    assert words(lines) == ["is on line; SIMs: 0", "is gone: a test"]


@pytest_twisted.ensureDeferred
async def test_of_a_number_no_more_than_the_end_is_shown(node, org, lines):
    await node.come(None, SIM)
    assert [line["phone"] for line in lines] == ["******01"]
