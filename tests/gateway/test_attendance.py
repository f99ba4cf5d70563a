"""Phones that come and go while something else happens: no row outlives its phone, and an org
that was deleted is no bug of ours."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, RecordingPhone, made_org, soon, sql, together
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unauthorised, Unavailable
from smsd.domain.records import Sim
from smsd.gateway.visit import Identity
from smsd.store import phones

SIM = Sim(slot=0, number="+15550001")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def sessions(database):
    return [row for (row,) in await sql(database, "SELECT session_id::text FROM sessions")]


async def forgotten(node, database):
    """The others have held this node for dead; it is about to learn of it."""
    await node.upkeep.beat()  # with the first of these, too, it tells of all its phones
    await node.settled()
    await sql(database, "UPDATE nodes SET seen_at = seen_at - interval '1 minute'")
    assert await phones.sweep_nodes_everywhere(database) == ["node-1"]


# -- telling again -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("sims", [(), (SIM,)])
async def test_a_phone_that_leaves_while_it_is_told_of_again_leaves_no_row(
    node, org, database, sims
):
    phone, other = await node.come(None, *sims), await node.come()
    await forgotten(node, database)
    with node.database.held("begin_sessions") as telling:
        await soon(node.upkeep.beat())
        await soon(telling.reached)
        with node.database.answers_held("end_sessions") as ending:
            node.attendance.end(phone.visit, "a test")
            await soon(ending.reached)
    await node.settled()
    assert await sessions(database) == [other.visit.session_id]


@pytest_twisted.ensureDeferred
async def test_phones_are_told_of_again_though_the_database_is_away_just_then(
    node, org, database, clock
):
    phone = await node.come(None, SIM)
    await forgotten(node, database)
    for name in ("begin_sessions", "report_sims"):
        node.database.fail(name, Unavailable())
    await soon(node.upkeep.beat())
    settled = Deferred.fromCoroutine(node.settled())
    while not settled.called:
        clock.advance(1)
        await sql(database, "SELECT 1")
    assert await sessions(database) == [phone.visit.session_id]
    assert b'"live_sims":[{"slot" : 0' in await phones.read_sims(database, ORG)


@pytest_twisted.ensureDeferred
async def test_all_phones_are_told_of_in_few_statements(node, org, database):
    for _ in range(20):
        await node.come(None, Sim(slot=0))
    await forgotten(node, database)
    node.database.run_names.clear()
    await soon(node.upkeep.beat())
    await node.settled()
    assert len(await sessions(database)) == 20
    assert node.database.run_names["begin_sessions"] <= 2
    assert node.database.run_names["report_sims"] <= 4


@pytest_twisted.ensureDeferred
async def test_a_phone_whose_arrival_was_stored_and_not_answered_leaves_no_row(node, org, database):
    """The commit's answer was lost: the phone hears that the database is away, and goes."""
    begin = node.attendance._beginning._write

    async def lost(rows):
        await begin(rows)
        raise Unavailable

    node.attendance._beginning._write = lost
    with pytest.raises(Unavailable):
        await node.come()
    await node.settled()
    assert await sessions(database) == []


# -- many at once ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_phones_that_come_at_once_are_stored_together_but_not_all_in_one_turn(
    node, org, database
):
    """Whoever is answered in one turn of the reactor keeps all others waiting."""
    identity, arrivals = Identity(), []
    for _ in range(450):
        arrivals.append(node.attendance.begin(org, identity, RecordingPhone()))
    await together(*arrivals)
    assert node.database.run_names["begin_sessions"] == 4, "one that came first, then 200 at most"
    assert len(await sessions(database)) == 450


# -- orgs that were deleted --------------------------------------------------------------------


async def delete_org(database):
    await sql(database, "DELETE FROM orgs WHERE org_id = %(org)s RETURNING 1", org=ORG)


@pytest_twisted.ensureDeferred
async def test_a_phone_of_an_org_deleted_since_its_recognition_is_unknown(node, org, database):
    await made_org(database, "other-org")
    await delete_org(database)
    with pytest.raises(Unauthorised):
        await node.come()
    assert (await node.come(org_id="other-org")).visit.on_line


@pytest_twisted.ensureDeferred
async def test_a_report_for_an_org_that_was_deleted_is_refused(node, org, database):
    phone = await node.come()
    await delete_org(database)
    with pytest.raises(Unauthorised):
        await node.attendance.report(phone.visit, [SIM])
    await node.leave(phone)
    assert await sessions(database) == []


@pytest_twisted.ensureDeferred
async def test_a_deleted_org_does_not_fail_its_neighbours_arrivals(node, org, database):
    await made_org(database, "other-org")
    phone, other = await node.come(), await node.come(org_id="other-org")
    await delete_org(database)
    await forgotten(node, database)
    await soon(node.upkeep.beat())
    await node.settled()
    assert await sessions(database) == [other.visit.session_id]
    await node.leave(phone)
