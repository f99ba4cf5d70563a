"""A call under a key is carried out once: repeated, at once, on two nodes, after a lost answer."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets, together
from test_lost_answers import lose, passed, start

from smsd.domain.allowance import Allowance
from smsd.domain.call_key import CallKey
from smsd.domain.errors import Invalid, TooManySends, Unauthorised, Unavailable
from smsd.domain.keys import Key
from smsd.domain.records import Draft
from smsd.gateway.doorman import Caller

ONE, OTHER = CallKey("one", "aa"), CallKey("other", "aa")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


@pytest.fixture
def second(database, clock, hashing):
    return Node(database, clock, name="node-2", hashing=hashing)


def sending(node, key=ONE, number=1):
    drafts = [Draft(to="+15550001111", body="hi")] * number
    return node.outbox.accept_once(Caller(ORG), drafts, key)


def told(accepted):
    return [(ticket.id, ticket.status) for ticket in accepted.results], accepted.replayed


async def counted(database):
    """What was stored under keys: each key, its first ticket and how many."""
    return await sql(database, "SELECT key, first_id, tickets FROM call_keys ORDER BY key")


async def come_to_pass(database, when):
    """Wait for it, at most as long as a thousand statements take."""
    for _ in range(1000):
        if when():
            return
        await sql(database, "SELECT 1")
    raise AssertionError("it did not come to pass")


@pytest_twisted.ensureDeferred
async def test_a_repeated_call_is_answered_with_the_tickets_as_they_are_now(node, org, database):
    phone = await node.come()
    assert told(await soon(sending(node, number=2))) == ([(1, "sending"), (2, "sending")], False)
    await node.result(phone.visit, 1)
    again = await soon(sending(node, number=2))
    assert told(again) == ([(1, "sent"), (2, "sending")], True)
    assert again.device_online
    assert phone.pushed == [1, 2]
    assert await tickets(database) == {1: "sent", 2: "sending"}
    assert await counted(database) == [("one", 1, 2)]


@pytest_twisted.ensureDeferred
async def test_the_holder_of_an_api_key_sends_once_too(node, org, database):
    holder = Caller(ORG, Key(ORG, "an id", ("send",)))
    drafts = [Draft(to="+15550001111", body="hi")]
    for replayed in (False, True):
        call = node.outbox.accept_once(holder, drafts, ONE)
        assert told(await soon(call)) == ([(1, "queued")], replayed)


@pytest_twisted.ensureDeferred
async def test_another_key_is_another_call_and_no_key_is_none(node, org, database):
    for call in (sending(node), sending(node, OTHER), node.send(), node.send()):
        assert not (await soon(call)).replayed
    assert len(await tickets(database)) == 4
    assert await counted(database) == [("one", 1, 1), ("other", 2, 1)]


@pytest_twisted.ensureDeferred
async def test_another_body_under_the_same_key_is_refused(node, org, database):
    await soon(sending(node))
    with pytest.raises(Invalid) as refused:
        await soon(sending(node, CallKey("one", "bb")))
    assert refused.value.errors[0].loc == ["Idempotency-Key"]
    assert len(await tickets(database)) == 1


@pytest_twisted.ensureDeferred
async def test_keys_of_two_orgs_know_nothing_of_each_other(node, org, database):
    await made_org(database, "another")
    await soon(sending(node))
    drafts = [Draft(to="+15550001111", body="hi")]
    for replayed in (False, True):
        call = node.outbox.accept_once(Caller("another"), drafts, CallKey("one", "bb"))
        assert told(await soon(call)) == ([(1, "queued")], replayed)
    await sql(database, "DELETE FROM messages WHERE org_id = %(org)s", org=ORG)
    assert told(await soon(sending(node))) == ([(1, "deleted")], True)


@pytest_twisted.ensureDeferred
async def test_a_call_waits_for_none_under_another_key_or_of_another_org(node, org, database):
    another = await made_org(database, "another")
    with node.database.held("append_messages", most=1) as gate:
        calls = [start(sending(node))]
        await soon(gate.reached)
        drafts = [Draft(to="+15550001111", body="hi")]
        calls += [start(sending(node, OTHER)), start(node.outbox.accept_once(another, drafts, ONE))]
        await come_to_pass(database, lambda: node.database.run_names["find_call"] == 3)
        gate.open()
        assert [told(await soon(call))[1] for call in calls] == [False] * 3


@pytest_twisted.ensureDeferred
async def test_calls_that_come_at_once_wait_for_the_first(node, org, database):
    phone = await node.come()
    with node.database.held("append_messages") as gate:
        calls = [start(sending(node)) for _ in range(5)]
        await soon(gate.reached)
        assert not any(call.called for call in calls)
        gate.open()
        answers = [told(await soon(call)) for call in calls]
    assert [replayed for _, replayed in answers] == [False, True, True, True, True]
    assert {id_ for results, _ in answers for id_, _ in results} == {1}
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_of_two_nodes_one_stores_and_the_other_tells_what_is_stored(
    node, second, org, database
):
    """Both have looked and found nothing when both statements go out."""
    first, other = await node.come(), await second.come()
    with (
        node.database.held("append_messages") as here,
        second.database.held("append_messages") as there,
    ):
        calls = [start(sending(each, number=2)) for each in (node, second)]
        await soon(here.reached)
        await soon(there.reached)
        here.open()
        there.open()
        answers = [told(await soon(call)) for call in calls]
    ((results, _), (same, _)) = answers
    assert [id_ for id_, _ in results] == [id_ for id_, _ in same]
    assert sorted(replayed for _, replayed in answers) == [False, True]
    assert sorted(first.pushed + other.pushed) == [id_ for id_, _ in results]
    assert len(await tickets(database)) == 2
    assert [each.visit.promised for each in (first, other)] == [0, 0]


@pytest_twisted.ensureDeferred
async def test_a_key_that_is_taken_holds_nothing_else_of_its_batch_up(node, second, org, database):
    with node.database.held("append_messages", most=1) as gate:
        calls = [start(node.send())]
        await soon(gate.reached)
        calls += [start(node.send()), start(sending(node)), start(node.send())]
        (lane,) = node.outbox.lanes
        await come_to_pass(database, lambda: lane.waiting == 3)
        await soon(sending(second))
        gate.open()
        answers = [told(await soon(call)) for call in calls]
    assert [replayed for _, replayed in answers] == [False, False, True, False]
    assert len(await tickets(database)) == 4
    assert node.database.run_names["append_messages"] == 2


@pytest_twisted.ensureDeferred
async def test_a_taken_key_takes_none_of_another_org_in_the_same_batch(node, second, org, database):
    another = await made_org(database, "another")
    with node.database.held("append_messages", most=1) as gate:
        calls = [start(node.send())]
        await soon(gate.reached)
        drafts = [Draft(to="+15550001111", body="hi")]
        calls += [start(sending(node)), start(node.outbox.accept_once(another, drafts, ONE))]
        (lane,) = node.outbox.lanes
        await come_to_pass(database, lambda: lane.waiting == 2)
        await soon(sending(second))
        gate.open()
        answers = [told(await soon(call)) for call in calls]
    assert [replayed for _, replayed in answers] == [False, True, False]
    assert len(await tickets(database)) == 2
    assert list(await tickets(database, "another")) == [1]


@pytest.mark.parametrize("done", [True, False], ids=["carried out", "never came to Postgres"])
@pytest_twisted.ensureDeferred
async def test_a_503_that_hid_a_commit_is_safe_to_repeat(node, org, database, done):
    phone = await node.come()
    lose(node, "append_messages", done=done, silent=2)
    with pytest.raises(Unavailable):
        await soon(sending(node))
    await passed(node)
    assert told(await soon(sending(node))) == ([(1, "sending")], done)
    assert phone.pushed == [1]
    assert await tickets(database) == {1: "sending"}


@pytest_twisted.ensureDeferred
async def test_a_lost_answer_of_a_statement_that_met_a_taken_key_gives_nothing_out(
    node, second, org, database
):
    phone = await node.come()
    lose(node, "append_messages")
    with node.database.held("append_messages") as gate:
        call = start(sending(node))
        await soon(gate.reached)
        await soon(sending(second))
        gate.open()
        answer = told(await soon(call))
    assert answer == ([(1, "queued")], True)
    await node.settled()
    assert list(await tickets(database)) == [1]
    assert phone.pushed in ([], [1])
    assert not phone.visit.promised


@pytest_twisted.ensureDeferred
async def test_a_lost_answer_is_looked_up_for_calls_without_a_key_beside_those_with_one(
    node, org, database
):
    with node.database.held("append_messages", most=1) as gate:
        calls = [start(node.send())]
        await soon(gate.reached)
        calls += [start(node.send()), start(sending(node))]
        (lane,) = node.outbox.lanes
        await come_to_pass(database, lambda: lane.waiting == 2)
        for _ in range(2):
            lose(node, "append_messages")
        gate.open()
        answers = [told(await soon(call)) for call in calls]
    assert answers == [([(id_, "queued")], False) for id_ in (1, 2, 3)]
    assert await counted(database) == [("one", 3, 1)]
    assert node.database.run_names["find_call"] == 2, "before it, and when its answer was lost"


@pytest_twisted.ensureDeferred
async def test_what_was_refused_is_not_remembered(org, database, clock, hashing):
    node = Node(database, clock, hashing=hashing, allowance=Allowance(max_sends_per_minute=1))
    await node.send()
    with pytest.raises(TooManySends):
        await soon(sending(node))
    assert await counted(database) == []
    clock.advance(2)
    await sql(database, "UPDATE messages SET created_at = created_at - interval '2 minutes'")
    assert told(await soon(sending(node))) == ([(2, "queued")], False)
    assert told(await soon(sending(node))) == ([(2, "queued")], True)


@pytest_twisted.ensureDeferred
async def test_the_tickets_that_are_gone_are_told_as_deleted(node, org, database):
    await soon(sending(node, number=2))
    await sql(database, "DELETE FROM messages WHERE id = 1")
    assert told(await soon(sending(node, number=2))) == ([(1, "deleted"), (2, "queued")], True)


@pytest_twisted.ensureDeferred
async def test_an_org_that_is_gone_has_no_keys(node, org, database):
    await soon(sending(node))
    await sql(database, "DELETE FROM orgs")
    assert await counted(database) == []
    with pytest.raises(Unauthorised):
        await soon(sending(node))


@pytest_twisted.ensureDeferred
async def test_keys_are_forgotten_after_their_days(node, org, database):
    await soon(sending(node))
    await soon(sending(node, OTHER))
    age = "UPDATE call_keys SET at = at - make_interval(days => 7) WHERE key = 'one'"
    await sql(database, age)
    await soon(node.upkeep._prune())
    assert await counted(database) == [("other", 2, 1)]
    assert told(await soon(sending(node))) == ([(3, "queued")], False)


@pytest_twisted.ensureDeferred
async def test_a_call_without_a_key_asks_for_none(node, org):
    await together(node.send(), node.send(None, None))
    assert node.database.run_names["find_call"] == 0
