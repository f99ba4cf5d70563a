"""Whoever waits for something to happen in an org is woken by it, wherever it was committed."""

import pytest
import pytest_twisted
from databases import opened
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql
from twisted.internet.defer import Deferred, succeed

from smsd.domain.records import Inbound, Sim
from smsd.gateway.bell import Bell
from smsd.gateway.doorman import Caller
from smsd.store import events
from smsd.store.events import Bounds

SMS = Inbound(address="+1555", body="a private text")
DAY = 86_400


class Elsewhere:
    """Where orgs stand, by the word of the test; notes what it is asked."""

    def __init__(self):
        self.bounds, self.asked = {}, []

    async def look(self, org_ids):
        self.asked.append(list(org_ids))
        return {org_id: self.bounds[org_id] for org_id in org_ids if org_id in self.bounds}


@pytest.fixture
def elsewhere():
    return Elsewhere()


@pytest.fixture
def bell(clock, elsewhere):
    return Bell(clock, elsewhere.look)


def heard(ear, seconds=60):
    """What the ear will have heard; a list that is empty until then."""
    found = []
    Deferred.fromCoroutine(ear.rings(seconds)).addCallback(found.append)
    return found


def test_a_reader_sleeps_until_its_own_org_rings(bell):
    with bell.ear("acme") as ear, bell.ear("beta") as other:
        sleeping, still = heard(ear), heard(other)
        bell.ring("acme")
        assert (sleeping, still) == ([True], [])
        bell.close()
        assert still == [False]


def test_what_happens_while_a_reader_reads_has_rung_already_and_rings_once(bell, clock):
    with bell.ear("acme") as ear:
        bell.ring("acme")
        bell.ring("acme", "beta")
        assert heard(ear) == [True]
        asleep = heard(ear, 5)
        assert asleep == []
        clock.advance(5)
        assert asleep == [False]


def test_a_reader_waits_no_longer_than_it_says_and_not_at_all_with_no_time(bell, clock):
    with bell.ear("acme") as ear:
        assert heard(ear, 0) == [False]
        asleep = heard(ear, 2.5)
        clock.advance(2.4)
        assert asleep == []
        clock.advance(0.1)
        assert asleep == [False]
        bell.ring("acme")
        assert heard(ear, 0) == [True]


def test_a_reader_that_hangs_up_leaves_nothing_behind(bell, clock):
    async def read():
        with bell.ear("acme") as ear:
            await ear.rings(60)

    reading = Deferred.fromCoroutine(read())
    assert bell.waiting == 1
    reading.addErrback(lambda _: None)
    reading.cancel()
    assert bell.waiting == 0
    assert clock.getDelayedCalls() == []
    bell.ring("acme")


def test_readers_hear_at_the_end_and_nobody_sleeps_after_it(bell):
    with bell.ear("acme") as ear:
        asleep = heard(ear)
        bell.close()
        assert asleep == [False]
        assert heard(ear) == [False]


def test_ten_thousand_readers_are_all_woken_and_the_reactor_turns_meanwhile(bell, clock):
    ears = [bell.ear("acme").__enter__() for _ in range(10_000)]
    asleep = [heard(ear) for ear in ears]
    bell.ring("acme")
    awake = sum(map(len, asleep))
    assert 0 < awake < 1000
    while awake < 10_000:
        clock.advance(0)
        awake, before = sum(map(len, asleep)), awake
        assert awake > before
    for ear in ears:
        ear.__exit__()
    assert bell.waiting == 0


# -- other nodes -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_one_question_for_all_orgs_finds_what_other_nodes_did(bell, elsewhere):
    await bell.look()
    with bell.ear("acme") as ear, bell.ear("acme") as another, bell.ear("beta") as other:
        for one in (ear, another, other):
            one.knows(Bounds(5, 1, 7))
        elsewhere.bounds = {"acme": Bounds(5, 1, 8), "beta": Bounds(5, 1, 7)}
        found = [heard(one) for one in (ear, another, other)]
        await bell.look()
        assert found == [[True], [True], []]
        await bell.look()
        assert heard(ear, 0) == [False]
        elsewhere.bounds["beta"] = Bounds(6, 1, 7)
        await bell.look()
        assert found[-1] == [True]
    await bell.look()
    assert elsewhere.asked == [["acme", "beta"]] * 3


@pytest_twisted.ensureDeferred
async def test_a_reader_that_knows_more_than_a_look_found_is_not_woken(bell, elsewhere):
    elsewhere.bounds = {"acme": Bounds(5, 1, 7)}
    with bell.ear("acme") as ear:
        ear.knows(Bounds(5, 1, 9))
        await bell.look()
        assert heard(ear, 0) == [False]
        elsewhere.bounds = {"acme": Bounds(5, 9, 9)}
        await bell.look()
        assert heard(ear, 0) == [False]


@pytest_twisted.ensureDeferred
async def test_a_reader_of_whom_nothing_is_known_is_woken_by_the_first_look(bell, elsewhere):
    elsewhere.bounds = {"acme": Bounds(5, 1, 7)}
    with bell.ear("acme") as ear:
        await bell.look()
        assert heard(ear, 0) == [True]
        await bell.look()
        assert heard(ear, 0) == [False]


def test_a_look_that_takes_long_is_not_joined_by_another(clock):
    asked, answers = [], []

    def slow(org_ids):
        asked.append(org_ids)
        answers.append(Deferred())
        return answers[-1]

    bell = Bell(clock, slow)
    with bell.ear("acme"):
        Deferred.fromCoroutine(bell.look())
        Deferred.fromCoroutine(bell.look())
        assert len(asked) == 1
        answers[0].callback({})
        bell._look = lambda org_ids: asked.append(org_ids) or succeed({})
        Deferred.fromCoroutine(bell.look())
        assert len(asked) == 2


# -- what rings ------------------------------------------------------------------------------


async def sms_arrives(node, phone):
    await node.inbox.store(Caller(ORG), [SMS])


async def ticket_is_sent(node, phone):
    await node.send(None)


async def result_comes(node, phone):
    await node.result(phone.visit, 1)


async def phone_comes(node, phone):
    await node.come()


async def phone_says_more(node, phone):
    await soon(node.attendance.report(phone.visit, [Sim(slot=1, number="+1777")]))


async def phone_goes(node, phone):
    await node.leave(phone)


async def ticket_is_late(node, phone):
    node.clock.advance(0)
    node.upkeep.confirm_timeout = 0
    await node.upkeep._end_late()


@pytest.mark.parametrize(
    "happen",
    [
        sms_arrives,
        ticket_is_sent,
        result_comes,
        phone_comes,
        phone_says_more,
        phone_goes,
        ticket_is_late,
    ],
    ids=lambda happen: happen.__name__,
)
@pytest_twisted.ensureDeferred
async def test_whatever_happens_here_rings_and_has_its_event_by_then(database, node, happen):
    await made_org(node.database)
    await made_org(node.database, "other-org")
    phone = await node.come(RecordingPhone(), Sim(slot=0, number="+1555"))
    await node.send(None)
    start = await events.listen(database, ORG, DAY)
    with node.bell.ear(ORG) as ear, node.bell.ear("other-org") as other:
        woken = Deferred.fromCoroutine(ear.rings(60))
        await happen(node, phone)
        assert await soon(woken)
        page = await events.read(database, ORG, start.last, 100)
        assert page.events
        assert not await other.rings(0)
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_a_reader_at_one_node_hears_what_another_one_committed(
    database, conninfo, clock, hashing, node
):
    pool = await opened(conninfo)
    other = Node(pool, clock, name="node-2", hashing=hashing)
    await made_org(database)
    start = await events.listen(database, ORG, DAY)
    try:
        with node.bell.ear(ORG) as ear:
            ear.knows(start)
            await node.bell.look()
            assert not await ear.rings(0)
            await other.inbox.store(Caller(ORG), [SMS])
            woken = Deferred.fromCoroutine(ear.rings(60))
            await node.bell.look()
            assert await soon(woken)
            page = await events.read(database, ORG, start.last, 100)
            assert [event.type for event in page.events] == ["message.received"]
    finally:
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_events_are_kept_no_longer_than_the_messages_that_they_show(database, node):
    await made_org(database)
    start = await events.listen(database, ORG, 30 * DAY)
    await node.inbox.store(Caller(ORG), [SMS])
    for keep_messages, days, left in [(0, 6, 1), (9, 6, 1), (5, 4, 1), (5, 6, 0)]:
        node.upkeep.keep_messages = keep_messages
        await sql(database, "UPDATE events SET at = now() - make_interval(days => %(d)s)", d=days)
        await node.upkeep.delete_old_events()
        page = await events.read(database, ORG, start.last, 100)
        assert len(page.events) == left, (keep_messages, days)
