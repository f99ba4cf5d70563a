"""What an org's limits refuse, what they let through, and that nobody else pays for them."""

from __future__ import annotations

from collections import Counter

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets, together
from twisted.internet.defer import Deferred

from smsd.domain.allowance import Allowance, Own
from smsd.domain.errors import Invalid, QueueFull, StorageFull, TooManySends, Unavailable
from smsd.domain.records import Draft, Inbound, Sim
from smsd.gateway.doorman import Caller
from smsd.store import limits

COUNTS = ("org_usage", "count_messages")


@pytest.fixture
def held_to(database, clock, hashing):
    """A node whose orgs are allowed this."""

    def made(name="node-1", **allowed) -> Node:
        return Node(database, clock, name=name, hashing=hashing, allowance=Allowance(**allowed))

    return made


async def arrive(node, number=1):
    sms = [Inbound(address="+15551112222", body="a private text") for _ in range(number)]
    return await soon(node.inbox.store(Caller(ORG), sms))


async def sent_to(node, *numbers, lone=False):
    drafts = [Draft(to=number, body="a private text") for number in numbers]
    return await soon(node.outbox.accept(Caller(ORG), drafts, lone=lone))


async def allow(database, **own):
    await limits.change(database, ORG, lambda _: Own(**own))


async def stored(database):
    ((number,),) = await sql(database, "SELECT count(*) FROM messages")
    return number


def kinds(outcomes):
    return Counter(type(outcome).__name__ for outcome in outcomes)


# -- who pays --


@pytest_twisted.ensureDeferred
async def test_an_org_without_limits_is_never_counted(node, database):
    await made_org(database)
    await node.ask()
    await arrive(node)
    await node.send()
    assert not [name for name in COUNTS if node.database.run_names[name]]


@pytest_twisted.ensureDeferred
async def test_many_calls_within_a_second_are_one_count(held_to, database, clock):
    node = held_to(max_queued=1000, max_stored=1000)
    await made_org(database)
    await together(*(node.send() for _ in range(30)))
    assert [node.database.run_names[name] for name in COUNTS] == [1, 1]
    clock.advance(1.1)
    await node.send()
    assert [node.database.run_names[name] for name in COUNTS] == [2, 1]


@pytest_twisted.ensureDeferred
async def test_what_is_known_of_an_idle_org_is_forgotten(held_to, database, clock):
    node = held_to(max_queued=5)
    await made_org(database)
    await node.send()
    node.quotas.prune()
    assert len(node.quotas._tallies) == 1
    clock.advance(61)
    node.quotas.prune()
    assert node.quotas._tallies == {}


# -- how much may wait --


@pytest_twisted.ensureDeferred
async def test_of_many_sends_at_once_just_so_many_wait_as_may(held_to, database):
    node = held_to(max_queued=5)
    await made_org(database)
    outcomes = await together(*(node.send() for _ in range(12)))
    assert kinds(outcomes) == {"Accepted": 5, "QueueFull": 7}
    assert len(await tickets(database)) == 5


@pytest_twisted.ensureDeferred
async def test_a_call_is_stored_whole_or_not_at_all(held_to, database):
    node = held_to(max_queued=5)
    await made_org(database)
    await node.send(0, 0, 0)
    with pytest.raises(QueueFull) as refused:
        await node.send(0, 0, 0)
    assert refused.value.retry_after == 10
    assert "At most 5 tickets may wait in this org (max_queued), 3 of them" in refused.value.detail
    assert len((await node.send(0, 0)).results) == 2


@pytest_twisted.ensureDeferred
async def test_what_a_phone_takes_makes_room_at_once(held_to, database, clock):
    node = held_to(max_queued=2)
    await made_org(database)
    await node.send(None, None)
    await node.come()
    clock.advance(0.3)
    assert len((await node.send()).results) == 1


# -- how much may be stored --


@pytest_twisted.ensureDeferred
async def test_what_is_stored_counts_in_both_directions(held_to, database):
    node = held_to(max_stored=4)
    await made_org(database)
    assert await arrive(node, 2) == 2
    await node.send()
    with pytest.raises(StorageFull) as refused:
        await arrive(node, 2)
    assert (refused.value.status, refused.value.close) == (429, 4503)
    assert "At most 4 messages may be stored in this org (max_stored), 3 of" in str(refused.value)
    assert await arrive(node) == 1
    with pytest.raises(StorageFull):
        await node.send()
    assert await stored(database) == 4


@pytest_twisted.ensureDeferred
async def test_of_many_that_arrive_at_once_just_so_many_are_stored_as_may(held_to, database):
    node = held_to(max_stored=7)
    await made_org(database)
    outcomes = await together(*(arrive(node) for _ in range(12)))
    assert kinds(outcomes) == {"int": 7, "StorageFull": 5}
    assert await stored(database) == 7


@pytest_twisted.ensureDeferred
async def test_what_is_deleted_makes_room_within_seconds(held_to, database, clock):
    node = held_to(max_stored=2)
    await made_org(database)
    await arrive(node, 2)
    await node.archive.forget(Caller(ORG), "+15551112222")
    clock.advance(5.1)
    assert await arrive(node, 2) == 2


@pytest_twisted.ensureDeferred
async def test_a_message_that_was_stored_before_takes_no_room_in_the_end(held_to, database, clock):
    node = held_to(max_stored=3)
    await made_org(database)
    sms = Inbound(address="+15551112222", body="a private text", id="one")
    for _ in range(3):
        await soon(node.inbox.store(Caller(ORG), [sms]))
    clock.advance(5.1)
    assert await arrive(node, 2) == 2


@pytest_twisted.ensureDeferred
async def test_a_limit_that_is_raised_counts_what_was_not_counted_before(held_to, database, clock):
    node = held_to(max_stored=2)
    await made_org(database)
    await sql(
        database,
        "INSERT INTO messages (org_id, id, status, direction, address, address_key, body)"
        " SELECT 'myorg', n, 'received', 'in', '', '', '' FROM generate_series(1, 9) AS n",
    )
    await sql(database, "UPDATE org_counters SET last_id = 9")
    with pytest.raises(StorageFull):
        await arrive(node)
    node.allowances.renew(Allowance(max_stored=10))
    assert await arrive(node) == 1
    with pytest.raises(StorageFull):
        await arrive(node)


@pytest_twisted.ensureDeferred
async def test_a_newcomer_that_brings_too_much_claims_nothing(held_to, database):
    node = held_to(max_stored=2)
    newcomer = await node.ask(claim=True)
    sms = [Inbound(address="+15551112222", body="hi")] * 3
    with pytest.raises(StorageFull):
        await soon(node.inbox.store(newcomer, sms))
    assert await sql(database, "SELECT * FROM orgs") == []
    assert await soon(node.inbox.store(newcomer, sms[:2])) == 2


# -- how much may be sent, and to whom --


@pytest_twisted.ensureDeferred
async def test_so_many_are_sent_in_a_minute_and_then_no_more_for_a_while(held_to, database, clock):
    node = held_to(max_sends_per_minute=3)
    await made_org(database)
    await node.come()
    outcomes = await together(*(node.send() for _ in range(5)))
    assert kinds(outcomes) == {"Accepted": 3, "TooManySends": 2}
    clock.advance(1.1)
    with pytest.raises(TooManySends) as refused:
        await node.send()
    assert 50 < refused.value.retry_after <= 60
    await sql(database, "UPDATE messages SET created_at = now() - interval '1 minute'")
    clock.advance(1.1)
    assert len((await node.send(None, None, None)).results) == 3


@pytest_twisted.ensureDeferred
async def test_every_number_that_may_not_be_sent_to_has_its_fault_and_none_is_stored(
    held_to, database
):
    node = held_to(to_prefixes=("+49", "0"))
    await made_org(database)
    with pytest.raises(Invalid) as refused:
        await sent_to(node, "+49 170 1", "+1555", "49170", "(0)170", "+4")
    assert [fault.loc for fault in refused.value.errors] == [
        ["messages", at, "to"] for at in (1, 2, 4)
    ]
    assert {fault.msg for fault in refused.value.errors} == {"must begin with one of: +49, 0"}
    with pytest.raises(Invalid) as refused:
        await sent_to(node, "+1555", lone=True)
    assert [fault.loc for fault in refused.value.errors] == [["to"]]
    assert await tickets(database) == {}
    assert len((await sent_to(node, "+49 170 1", "0170")).results) == 2


# -- several nodes, and a database in trouble --


@pytest_twisted.ensureDeferred
async def test_a_node_knows_within_a_second_what_the_others_accepted(held_to, database, clock):
    one, other = held_to(max_queued=4, max_stored=9), held_to("node-2", max_queued=4, max_stored=9)
    await made_org(database)
    await one.send()
    await other.send(None, None, None)
    clock.advance(1.1)
    with pytest.raises(QueueFull):
        await one.send()
    await arrive(other, 5)
    clock.advance(1.1)
    with pytest.raises(StorageFull):
        await arrive(one)


@pytest_twisted.ensureDeferred
async def test_where_nobody_can_count_nobody_is_let_in(held_to, database):
    node = held_to(max_queued=5)
    await made_org(database)
    with node.database.held("org_usage", most=1) as gate:
        sending = Deferred.fromCoroutine(together(node.send(), node.send()))
        await soon(gate.reached)
        node.database.fail("org_usage", Unavailable())
    assert kinds(await soon(sending)) == {"Unavailable": 2}
    assert await tickets(database) == {}
    assert len((await node.send()).results) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_being_stored_while_others_are_counted_is_counted_too(
    held_to, database, clock
):
    node = held_to(max_queued=2)
    await made_org(database)
    with node.database.held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send(None, None))
        await soon(gate.reached)
        clock.advance(1.1)
        with pytest.raises(QueueFull):
            await node.send()
    await soon(sending)
    assert len(await tickets(database)) == 2


# -- the operator's word for one org --


@pytest_twisted.ensureDeferred
async def test_an_orgs_own_limit_beats_the_settings_and_none_lifts_them(held_to, database, clock):
    node = held_to(max_queued=1)
    await made_org(database)
    await allow(database, max_queued=2)
    await node.ask()
    await node.send(None, None)
    with pytest.raises(QueueFull):
        await node.send()
    await allow(database, max_queued=0)
    clock.advance(1.1)
    await node.ask()
    assert len((await node.send(None, None, None)).results) == 3
    await allow(database)
    clock.advance(1.1)
    await node.ask()
    with pytest.raises(QueueFull):
        await node.send()


@pytest_twisted.ensureDeferred
async def test_an_org_with_limits_that_is_deleted_leaves_none_behind(node, database, clock):
    await made_org(database)
    await allow(database, max_queued=2)
    await node.ask()
    assert node.allowances.of(ORG) == Allowance(max_queued=2)
    await sql(database, "DELETE FROM orgs")
    clock.advance(1.1)
    await node.answer()
    assert node.allowances.of(ORG) is None


@pytest_twisted.ensureDeferred
async def test_a_phone_on_line_is_held_to_what_the_operator_says_meanwhile(node, database):
    await made_org(database)
    await node.come(None, Sim(slot=0))
    await allow(database, max_stored=1)
    await node.upkeep.look_at_limits()
    await arrive(node)
    with pytest.raises(StorageFull):
        await arrive(node)
    await allow(database)
    await node.upkeep.look_at_limits()
    assert await arrive(node) == 1


@pytest_twisted.ensureDeferred
async def test_settings_that_are_read_again_hold_for_every_org_but_for_what_is_its_own(
    held_to, database
):
    node = held_to(max_queued=1)
    await made_org(database)
    await allow(database, max_stored=5)
    await node.ask()
    node.allowances.renew(Allowance(max_stored=3))
    assert node.allowances.of(ORG) == Allowance(max_stored=5)
    assert node.allowances.of("another") == Allowance(max_stored=3)
    node.allowances.renew(Allowance())
    assert node.allowances.of("another") is None
