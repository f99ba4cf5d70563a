"""The same losses on a real road: statements, answers and backends go, and nobody misses them."""

from __future__ import annotations

import pytest_twisted
from databases import chance, opened
from nodes import ORG, Node, made_org, soon, sql, tickets
from relay import Delay, Loss, Relay, Silence
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smsd.store import batch, batches
from smsd.store import database as pool_module
from smsd.store.database import Database

APPEND = b"EXECUTE append_messages("


@pytest_twisted.async_yield_fixture
async def relay(conninfo):
    relay = Relay(conninfo)
    yield relay
    await relay.close()


@pytest_twisted.async_yield_fixture
async def distant(relay):
    """A pool at the other end of the road, on which all is planned already."""
    pool = Database(reactor, relay.conninfo, size=1, chance=chance)
    await pool.open()
    yield pool
    await pool.close()


@pytest_twisted.async_fixture
async def far_node(distant, clock, hashing):
    node = Node(distant, clock, hashing=hashing)
    await made_org(distant)
    node.phone = await node.come()
    assert (await node.send()).results[0].status == "sending"
    return node


async def sent(node: Node) -> None:
    """Two more were sent, and pushed once."""
    assert [one.status for one in (await node.send(None, None)).results] == ["sending"] * 2
    assert node.phone.pushed == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_lost_with_its_connection_is_not_missed(far_node, relay, database):
    relay.lose(Loss(APPEND))
    await sent(far_node)
    assert list(await tickets(database)) == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_does_not_come_in_time_is_not_missed(far_node, relay, database):
    relay.lose(Silence(APPEND))
    await sent(far_node)
    assert list(await tickets(database)) == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_a_statement_that_comes_late_stores_nothing_beside_the_one_made_again(
    far_node, relay, database
):
    delay = relay.lose(Delay(APPEND))
    await sent(far_node)
    assert b"batches_pkey" in await soon(delay.arrive())
    assert list(await tickets(database)) == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_a_backend_that_is_ended_under_a_commit_costs_nobody_an_error(
    far_node, conninfo, database
):
    other = await opened(conninfo, 1)

    async def hold_up(tx):
        """The append waits for the org's counter when its backend is ended."""
        await sql(tx, "SELECT FROM org_counters WHERE org_id = %(org)s FOR UPDATE", org=ORG)
        sending = Deferred.fromCoroutine(sent(far_node))
        waiting = "SELECT pid FROM pg_locks WHERE NOT granted"
        while not (found := await sql(database, waiting)):
            pass
        for (pid,) in found:
            await sql(database, "SELECT pg_terminate_backend(%(pid)s)", pid=pid)
        return [sending]

    (sending,) = await other.transaction("hold up", hold_up)
    await soon(sending)
    assert list(await tickets(database)) == [1, 2, 3]
    await other.close()


def test_whoever_waits_hears_something_within_three_seconds():
    lost_late = pool_module.DEADLINE + batches.DEADLINE
    assert batch.QUICK + lost_late < 3
