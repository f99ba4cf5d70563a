"""What phones say became of tickets, and what becomes of those that nobody speaks of."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets, together
from twisted.internet.defer import Deferred

from smsd.domain.errors import ShuttingDown, Unavailable
from smsd.domain.records import Inbound, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.visit import Limits
from smsd.store import phones


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


@pytest_twisted.async_fixture
async def phone(node, org):
    return await node.come()


async def row(database, id_: int = 1):
    columns = "status, error, error_detail, sent_at IS NOT NULL, attempts"
    found = await sql(database, f"SELECT {columns} FROM messages WHERE id = %(id)s", id=id_)
    return found[0]


@pytest_twisted.ensureDeferred
async def test_a_success_is_sent_and_a_failure_is_failed_with_the_phones_words(
    node, phone, database
):
    await node.send(None, None)
    assert await node.result(phone.visit, 1) == "settled"
    assert await node.result(phone.visit, 2, False, error="no signal") == "settled"
    assert await row(database, 1) == ("sent", None, None, True, 1)
    assert await row(database, 2) == ("failed", "phone_failed", "no signal", False, 1)


@pytest_twisted.ensureDeferred
async def test_the_phones_time_of_sending_is_kept(node, phone, database):
    await node.send()
    await node.result(phone.visit, 1, sent_at=1_700_000_000_123)
    ((ms,),) = await sql(
        database, "SELECT (extract(epoch FROM sent_at) * 1000)::bigint FROM messages"
    )
    assert ms == 1_700_000_000_123


@pytest_twisted.ensureDeferred
async def test_a_result_frees_its_place(database, clock, hashing, org):
    node = Node(database, clock, hashing=hashing, limits=Limits(1, 1))
    phone = await node.come()
    await node.send(None, None)
    await node.result(phone.visit, 1, False)
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_result_for_what_was_never_pushed_is_unknown(node, phone, database):
    await made_org(database, "other-org")
    await node.send("+4999")
    elsewhere = await node.come(org_id="other-org")
    await node.send(org_id="other-org")
    await node.send()
    assert await tickets(database) == {1: "queued", 2: "sending"}
    for id_ in (1, 77):
        for success in (True, False):
            assert await node.result(phone.visit, id_, success) == "unknown"
    assert await node.result(elsewhere.visit, 2, org_id="other-org") == "unknown"
    assert await tickets(database) == {1: "queued", 2: "sending"}
    assert await tickets(database, "other-org") == {1: "sending"}


@pytest_twisted.ensureDeferred
async def test_a_result_for_an_sms_that_arrived_is_unknown(node, phone, database):
    await soon(node.inbox.store(Caller(ORG), [Inbound(address="+1", body="a private text")]))
    assert await node.result(phone.visit, 1) == "unknown"


@pytest_twisted.ensureDeferred
async def test_a_repeated_result_changes_nothing(node, phone, database):
    await node.send(None, None)
    await node.result(phone.visit, 1)
    await node.result(phone.visit, 2, False, error="first")
    for success in (True, False):
        assert await node.result(phone.visit, 1, success) == "repeated"
    assert await node.result(phone.visit, 2, False, error="second") == "repeated"
    assert (await row(database, 1))[0] == "sent"
    assert (await row(database, 2))[2] == "first"


@pytest_twisted.ensureDeferred
async def test_a_late_success_turns_failed_into_sent_and_nothing_else_does(node, phone, database):
    await node.send()
    await node.result(phone.visit, 1, False, error="no signal")
    assert await node.result(phone.visit, 1) == "settled"
    assert await row(database) == ("sent", None, None, True, 1)


@pytest_twisted.ensureDeferred
async def test_a_result_may_come_on_another_session_and_frees_the_place_of_the_first(
    database, clock, hashing, org
):
    node = Node(database, clock, hashing=hashing, limits=Limits(5, 1))
    phone, other = await node.come(), await node.come()
    await node.send(None, None)
    assert phone.pushed == [1]
    assert await node.result(other.visit, 1) == "settled"
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_result_may_come_after_the_session_has_ended(node, phone, database):
    await node.send()
    await node.leave(phone)
    assert (await row(database))[0] == "sending"
    assert await node.result(phone.visit, 1) == "settled"
    assert (await row(database))[0] == "sent"


@pytest_twisted.ensureDeferred
async def test_a_result_with_another_ref_is_ignored(node, phone, database):
    await node.send()
    ((ref,),) = await sql(database, "SELECT ref FROM messages")
    assert await node.result(phone.visit, 1, ref="0" * 32) == "ignored"
    assert (await row(database))[0] == "sending"
    assert await node.result(phone.visit, 1, ref=ref) == "settled"


@pytest_twisted.ensureDeferred
async def test_results_that_come_at_once_are_settled_by_the_truth(node, phone, database):
    await node.send(*[None] * 4)
    visit = phone.visit
    told = await together(
        node.result(visit, 4),  # goes alone; the others gather behind it
        node.result(visit, 1, False, error="first"),
        node.result(visit, 1, False, error="second"),
        node.result(visit, 2, False),
        node.result(visit, 2),
        node.result(visit, 3),
        node.result(visit, 3, False),
        node.result(visit, 99),
        node.result(visit, 99),
    )
    assert told[1:] == [
        "settled",
        "repeated",
        "repeated",
        "settled",
        "settled",
        "repeated",
        "unknown",
        "unknown",
    ]
    assert node.database.run_names["settle_results"] == 2
    assert (await row(database, 1))[2] == "first"
    assert await tickets(database) == {1: "failed", 2: "sent", 3: "sent", 4: "sent"}


@pytest_twisted.ensureDeferred
async def test_a_result_with_another_ref_does_not_hide_the_right_one(node, phone, database):
    await node.send(None, None)
    ((ref,),) = await sql(database, "SELECT ref FROM messages WHERE id = 1")
    told = await together(
        node.result(phone.visit, 2),
        node.result(phone.visit, 1, ref="0" * 32),
        node.result(phone.visit, 1, False, ref=ref),
    )
    assert told == ["settled", "ignored", "settled"]


@pytest_twisted.ensureDeferred
async def test_a_result_is_kept_while_the_database_is_away(node, phone, database, clock):
    await node.send()
    for _ in range(3):
        node.database.fail("settle_results", Unavailable())
    settling = Deferred.fromCoroutine(node.result(phone.visit, 1))
    while not settling.called:
        clock.advance(1)
        await sql(database, "SELECT 1")
    assert await settling == "settled"


@pytest_twisted.ensureDeferred
async def test_a_ticket_never_confirmed_fails_and_a_late_success_still_counts(
    node, phone, database
):
    await node.send(None, None)
    await sql(database, "UPDATE messages SET handed_at = handed_at - interval '599 seconds'")
    await node.upkeep._end_late()
    assert await tickets(database) == {1: "sending", 2: "sending"}
    await sql(
        database,
        "UPDATE messages SET handed_at = handed_at - interval '2 seconds' WHERE id = 1",
    )
    await node.upkeep._end_late()
    assert (await row(database))[:2] == ("failed", "unconfirmed")
    assert await tickets(database) == {1: "failed", 2: "sending"}
    assert node.upkeep.given_up == {"failed": 1}
    assert phone.visit._in_place == 1, "its place is free"
    assert await node.result(phone.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent", 2: "sending"}


@pytest_twisted.ensureDeferred
async def test_many_tickets_that_are_never_confirmed_free_their_places_and_wake_each_phone_once(
    node, phone, database
):
    other_org = await made_org(database, "other")
    other = await node.come(org_id=other_org.org_id)
    await node.send(None, None, None, None)
    await node.send(None, None, org_id=other_org.org_id)
    await sql(database, "UPDATE messages SET handed_at = now() - interval '601 s' WHERE id <> 4")
    before = phone.visit.queued, other.visit.queued
    await node.upkeep._end_late()
    assert (phone.visit.queued, other.visit.queued) == (before[0] + 1, before[1] + 1)
    assert (phone.visit._in_place, other.visit._in_place) == (1, 0)
    assert [id_ for id_ in range(1, 5) if phone.visit.has(id_)] == [4]
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_a_node_held_for_dead_tells_of_its_phones_again(node, org, database):
    await node.upkeep.beat()
    await node.come(None, Sim(slot=0, number="+15550001"))
    await node.come()
    before = await phones.read_sims(database, ORG)
    await sql(database, "UPDATE nodes SET seen_at = seen_at - interval '1 minute'")
    assert await phones.sweep_nodes_everywhere(database) == ["node-1"]
    assert b'"online_devices":0' in await phones.read_sims(database, ORG)
    await node.upkeep.beat()
    await node.settled()
    assert b'"online_devices":2' in before
    assert b"+15550001" in before
    after = await phones.read_sims(database, ORG)
    assert after.split(b',"known_sims"')[0] == before.split(b',"known_sims"')[0]


@pytest_twisted.ensureDeferred
async def test_a_dead_node_is_swept_and_a_living_one_is_not(node, org, database, clock, hashing):
    other = Node(database, clock, name="node-2", hashing=hashing)
    for each in (node, other):
        await each.upkeep.beat()
        await each.come()
    await sql(
        database,
        "UPDATE nodes SET seen_at = seen_at - interval '16 seconds' WHERE node_id = 'node-2'",
    )
    await node.upkeep.beat()
    assert await sql(database, "SELECT node_id FROM sessions") == [("node-1",)]


@pytest_twisted.ensureDeferred
async def test_phones_that_left_are_no_longer_on_line_for_others(node, phone, database):
    assert await sql(database, "SELECT count(*) FROM sessions") == [(1,)]
    await node.leave(phone)
    await node.leave(phone)
    assert await sql(database, "SELECT count(*) FROM sessions") == [(0,)]
    assert len(node.roster) == 0


@pytest_twisted.ensureDeferred
async def test_chores_go_on_after_one_has_failed(node, org, database, clock, logged_failures):
    node.upkeep.start()
    node.database.fail("waiting_orgs", Unavailable())
    node.database.fail("beat", ZeroDivisionError())
    phone = await node.come(greeted=False)
    phone.visit.backlog = False
    for _ in range(2):
        clock.advance(5)
        await node.settled()
    node.upkeep.stop()
    assert len(logged_failures.taken(ZeroDivisionError)) == 1
    assert await sql(database, "SELECT count(*) FROM nodes") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_shutdown_dismisses_every_phone_and_lets_nobody_in(node, org, database):
    await made_org(database, "other-org")
    on_line = [await node.come(org_id=each) for each in (ORG, ORG, "other-org")]
    node.attendance.close()
    node.attendance.dismiss_all(ShuttingDown())
    await node.settled()
    assert [phone.closed for phone in on_line] == [["shutting_down"]] * 3
    assert len(node.roster) == 0
    with pytest.raises(ShuttingDown):
        await node.come(RecordingPhone())


@pytest_twisted.ensureDeferred
async def test_the_sim_that_took_a_ticket_is_known_from_its_result_at_the_latest(
    node, org, database
):
    """A phone that is back is given what waits before it has said which SIM it holds."""
    await node.send()
    phone = await node.come()
    assert phone.pushed == [1]
    await node.attendance.report(phone.visit, [Sim(slot=1, number="+15550001")])
    assert await node.result(phone.visit, 1) == "settled"
    found = await sql(database, "SELECT sim_slot, sim_number, sim_digits FROM messages")
    assert found == [(1, "+15550001", "15550001")]
