"""A dry run tells what would happen, and leaves no trace; a ticket may tell what it waits for."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets

from smsd.domain.allowance import Allowance
from smsd.domain.errors import Invalid
from smsd.domain.records import Draft, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.outlook import Outlook, PhoneAndSim
from smsd.gateway.visit import Identity, Limits

ONE = Sim(slot=0, number="+15550001")
PIXEL = PhoneAndSim(online=True, device_id="pixel", sim_slot=0, sim_number="+15550001")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def drafts(*sims):
    return [Draft(to="+15550001111", body="hi", sim=sim) for sim in sims]


async def foretold(node: Node, *sims):
    return await node.outbox.forecast(Caller(ORG), drafts(*sims or (None,)))


async def seen(node: Node, *sims):
    accepted = await soon(node.outbox.accept(Caller(ORG), drafts(*sims), ahead=True))
    return [ticket.outlook for ticket in accepted.results]


@pytest_twisted.ensureDeferred
async def test_a_phone_on_line_would_take_it_with_the_sim_that_fits(node, org, database):
    await node.come(None, ONE, identity=Identity("pixel"))
    for sim in (None, 0, "1 555 0001"):
        told = await foretold(node, sim)
        assert told.device_online
        assert told.outlooks == [Outlook(taken_by=PIXEL)]
        assert await seen(node, sim) == told.outlooks


@pytest_twisted.ensureDeferred
async def test_without_a_phone_it_would_wait_for_the_sim_that_was_asked_for(node, org, database):
    waits = [
        Outlook(waiting_for=PhoneAndSim(online=False)),
        Outlook(waiting_for=PhoneAndSim(online=False, sim_slot=3)),
        Outlook(waiting_for=PhoneAndSim(online=False, sim_number="+1777")),
    ]
    told = await foretold(node, None, 3, "+1777")
    assert (told.device_online, told.outlooks) == (False, waits)
    assert await seen(node, None, 3, "+1777") == waits


@pytest_twisted.ensureDeferred
async def test_a_dry_run_takes_no_place_and_stores_nothing(org, database, clock, hashing):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=2, unanswered=2))
    phone = await node.come(None, ONE, identity=Identity("pixel"))
    for _ in range(3):
        told = await foretold(node, None, None, None)
        assert [bool(each.taken_by) for each in told.outlooks] == [True, True, False]
        assert told.outlooks[2].waiting_for == PIXEL
    assert phone.pushed == []
    assert await tickets(database) == {}
    assert await sql(database, "SELECT last_id FROM org_counters") == [(0,)]
    accepted = await node.send(None, None, None)
    assert [ticket.status for ticket in accepted.results] == ["sending", "sending", "queued"]
    assert (await foretold(node)).outlooks == [Outlook(waiting_for=PIXEL)]


@pytest_twisted.ensureDeferred
async def test_a_dry_run_to_a_forbidden_number_is_refused(org, database, clock, hashing):
    allowed = Allowance(to_prefixes=("+49",))
    node = Node(database, clock, hashing=hashing, allowance=allowed)
    with pytest.raises(Invalid) as refused:
        await foretold(node)
    assert refused.value.errors[0].loc == ["messages", 0, "to"]
