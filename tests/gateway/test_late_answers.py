"""A ticket whose commit was in doubt for so long that it has ended meanwhile is not pushed."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import Node, made_org, sql, tickets
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.store.waiter import NotYetKnown


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def in_doubt(node: Node, *sims: str | int | None) -> None:
    """Tickets that are stored, of which nobody knows; the database is away for long."""
    node.database.lose("append_messages")
    for _ in range(20):
        node.database.fail("look up a batch", Unavailable())
    with pytest.raises(NotYetKnown):
        await node.send(*sims)


async def passed(node: Node) -> None:
    """Time goes on until everything that was started has come to its end."""
    idle = Deferred.fromCoroutine(node.spawn.idle())
    ticks = 0
    while not idle.called:
        if not node.database.under_way:
            node.clock.advance(0.25)
            ticks += 1
            assert ticks < 400, "it never ends"
        await sql(node.database, "SELECT 1")


async def given_up(node: Node, database, *, ids: str) -> None:
    """Nobody has answered these for as long as may be."""
    await sql(
        database, f"UPDATE messages SET handed_at = now() - interval '601 s' WHERE id IN ({ids})"
    )
    await node.upkeep._end_late()


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_has_failed_meanwhile_is_not_pushed_and_others_are(node, org, database):
    phone = await node.come()
    await in_doubt(node, None, None, None)
    await given_up(node, database, ids="1, 3")
    await passed(node)
    assert phone.pushed == [2]
    assert await tickets(database) == {1: "failed", 2: "sending", 3: "failed"}
    assert phone.visit.places == 63
    await node.send()
    assert phone.pushed == [2, 4]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_waits_again_meanwhile_is_pushed_once(node, org, database):
    node.upkeep.unconfirmed = "resend"
    phone = await node.come()
    await in_doubt(node)
    await given_up(node, database, ids="1")
    assert await tickets(database) == {1: "queued"}
    await passed(node)
    assert phone.pushed == [1]
    assert await node.result(phone.visit, 1) == "settled"
    assert phone.visit.places == 64


@pytest_twisted.ensureDeferred
async def test_nothing_newer_overtakes_while_it_is_looked_at(node, org, database):
    phone = await node.come()
    await in_doubt(node)
    with node.database.answers_held("read_handed") as gate:
        for _ in range(400):
            if not node.database.under_way:
                node.clock.advance(0.25)
            await sql(database, "SELECT 1")
        assert gate.waiting
        with pytest.raises(Unavailable):
            await node.send()
    await passed(node)
    await node.send()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_what_is_cleared_up_soon_costs_no_second_look(node, org):
    phone = await node.come()
    node.database.lose("append_messages")
    await node.send()
    assert phone.pushed == [1]
    assert node.database.run_names["read_handed"] == 0
