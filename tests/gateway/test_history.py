"""A ticket's history tells when it came to its end, whatever that was."""

from __future__ import annotations

import pytest_twisted
from nodes import ORG, made_org, soon, sql

from smsd.domain.opt_outs import OptOuts
from smsd.domain.records import Sim
from smsd.gateway.doorman import Caller
from smsd.store import opt_outs

ME = Caller(ORG)
ONE = Sim(slot=0, number="+15550009999")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def history(node, ticket=1):
    return (await soon(node.archive.ticket(ME, ticket))).history


async def happened(node, ticket=1):
    return [moment.what for moment in await history(node, ticket)]


@pytest_twisted.ensureDeferred
async def test_a_cancelled_ticket_tells_when(node, org):
    await node.send()
    await soon(node.archive.cancel(ME, 1))
    accepted, cancelled = await history(node)
    assert (accepted.what, cancelled.what) == ("accepted", "cancelled")
    assert cancelled.at > accepted.at
    await soon(node.archive.cancel(ME, 1))
    assert (await history(node))[-1] == cancelled, "it is cancelled once"


@pytest_twisted.ensureDeferred
async def test_a_failed_ticket_tells_when_until_a_late_success(node, org):
    phone = await node.come(None, ONE)
    await node.send()
    await node.result(phone.visit, 1, False, error="no_credit")
    assert await happened(node) == ["accepted", "given", "failed"]
    await node.result(phone.visit, 1)
    assert await happened(node) == ["accepted", "given", "sent"]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_expires_tells_when(node, org, database):
    await node.send()
    await sql(database, "UPDATE messages SET expires_at = clock_timestamp() - interval '1 second'")
    await soon(node.upkeep.schedule.turn())
    assert await happened(node) == ["accepted", "expired"]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_is_refused_ended_as_it_was_accepted(node, org, database):
    await soon(node.consent.set_how(ME, OptOuts(scope="org")))
    await soon(opt_outs.add(database, ORG, "15550001111", "+15550001111"))
    await node.send()
    accepted, failed = await history(node)
    assert (failed.what, failed.at) == ("failed", accepted.at)
