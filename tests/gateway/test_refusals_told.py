"""Whoever sends to a number that has opted out is told so: at once, again, and beforehand."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, made_org, soon, tickets
from test_opt_outs import ONE, OTHERS, THEM, TWO, hear, keep

from smsd.domain.call_key import CallKey
from smsd.domain.records import Draft, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.outlook import REFUSED
from smsd.store import opt_outs

ME = Caller(ORG)


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def drafts(*numbers: str, sim: str | None = None) -> list[Draft]:
    return [Draft(to=number, body="hi", sim=sim) for number in numbers]


async def refused(node, *numbers, sim=None) -> list[bool]:
    """Of which of these a dry run says that they are refused; the sending must say the same."""
    asked = drafts(*numbers, sim=sim)
    told = [one == REFUSED for one in (await soon(node.outbox.forecast(ME, asked))).outlooks]
    sent = await soon(node.outbox.accept(ME, asked))
    await node.settled()
    assert [one.error for one in sent.results] == ["opted_out" if no else None for no in told]
    return told


@pytest.mark.parametrize("ahead", [False, True], ids=["plain", "with an outlook"])
@pytest_twisted.ensureDeferred
async def test_a_result_says_why_and_waits_for_nothing(node, org, ahead):
    await keep(node)
    await node.come(None, ONE)
    await hear(node, "STOP")
    call = node.outbox.accept(ME, drafts(THEM, OTHERS), ahead=ahead)
    told, other = (await soon(call)).results
    assert (told.status, told.error, told.outlook, told.not_before) == (
        "failed",
        "opted_out",
        None,
        None,
    )
    assert (other.status, other.error) == ("sending", None)


@pytest_twisted.ensureDeferred
async def test_a_repeated_call_says_why_too_and_of_nothing_else(node, org, database):
    await keep(node)
    phone = await node.come(None, ONE)
    await hear(node, "STOP")
    for replayed in (False, True):
        call = node.outbox.accept_once(ME, drafts(OTHERS, THEM), CallKey("one", "aa"))
        accepted = await soon(call)
        assert accepted.replayed is replayed
        assert [one.error for one in accepted.results] == [None, "opted_out"]
    assert await node.result(phone.visit, 2, success=False) == "settled"
    again = await soon(node.outbox.accept_once(ME, drafts(OTHERS, THEM), CallKey("one", "aa")))
    told = [(one.id, one.status, one.error) for one in again.results]
    assert told == [(2, "failed", None), (3, "failed", "opted_out")]


@pytest_twisted.ensureDeferred
async def test_a_dry_run_says_it_of_these_numbers_alone_however_they_are_written(
    node, org, database
):
    await keep(node)
    await hear(node, "STOP")
    told = await soon(node.outbox.forecast(ME, drafts("+1 (555) 000-1111", OTHERS)))
    assert [one == REFUSED for one in told.outlooks] == [True, False]
    assert await tickets(database) == {}
    assert await refused(node, THEM, OTHERS) == [True, False]


@pytest_twisted.ensureDeferred
async def test_a_dry_run_of_an_org_that_does_not_keep_to_it_asks_nothing(node, org):
    await soon(opt_outs.add(node.database, ORG, "15550001111", THEM))
    before = node.database.run_names.copy()
    told = await soon(node.outbox.forecast(ME, drafts(THEM)))
    assert told.outlooks != [REFUSED]
    assert node.database.run_names == before


@pytest_twisted.ensureDeferred
async def test_of_a_sim_a_dry_run_says_what_the_sim_that_would_take_it_does(node, org):
    await keep(node, "sim")
    await hear(node, "STOP", number="+1777")
    assert await refused(node, THEM, sim="+1777") == [True]
    assert await refused(node, THEM, sim="+1888") == [False]
    assert await refused(node, THEM) == [False], "nobody knows yet which SIM takes it"
    await node.come(None, ONE)
    assert await refused(node, THEM) == [True]
    await node.come(None, TWO)
    assert await refused(node, THEM, sim="+1888") == [False]


@pytest_twisted.ensureDeferred
async def test_a_dry_run_says_it_too_where_a_sim_that_nobody_can_name_would_take_it(node, org):
    await keep(node, "sim")
    await hear(node, "STOP")
    assert await refused(node, THEM) == [False], "nobody takes it yet"
    await node.come(None, Sim(slot=0))
    assert await refused(node, THEM) == [True]
