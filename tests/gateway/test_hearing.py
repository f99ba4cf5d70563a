"""Whoever waits for messages hears at once, misses nothing, and costs the database little."""

import json

import pytest
import pytest_twisted
from databases import opened
from nodes import HOME, ORG, PEPPER, SECRET, Node, RecordingPhone, made_org, soon
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from smsd.domain.errors import WrongKey
from smsd.domain.query import MessageQuery
from smsd.domain.records import Inbound, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.hearing import PAUSE
from smsd.gateway.rotation import Keeper
from smsd.store import tickets
from smsd.store.keys import NewKey

ME = Caller(ORG)
SMS = Inbound(address="+1555", body="a private text")


@pytest.fixture
def reads(node):
    """How often messages were read so far."""
    return lambda: node.database.run_names["read_messages"]


def listening(node, wait=60.0, org_id=ORG, caller=None, **asked):
    """A reader that waits; fires with its page's messages."""
    query = MessageQuery(wait=wait, **asked)
    waiting = Deferred.fromCoroutine(node.hearing.messages(caller or Caller(org_id), query))
    return waiting.addCallback(lambda page: json.loads(page)["messages"])


async def until(seen, clock):
    """Once this is so; the reactor turns meanwhile, and no time passes."""

    async def look():
        while not seen():
            clock.advance(0)
            await deferLater(reactor, 0.005)

    await soon(look())


async def asleep(node, readers=1):
    """Once so many sleep at the bell."""

    def sleeping():
        ears = [ear for ears in node.bell._ears.values() for ear in ears]
        return sum(ear._sleeping is not None for ear in ears)

    await until(lambda: sleeping() >= readers, node.clock)


def resting(clock):
    """How many were woken for nothing just now, and rest."""
    end = clock.seconds() + PAUSE
    return sum(timer.getTime() == end for timer in clock.getDelayedCalls())


async def rested(clock, readers=1):
    """Once so many rest; then their rest is over."""
    await until(lambda: resting(clock) >= readers, clock)
    clock.advance(PAUSE)


async def heard(waiting, clock):
    """What a reader hears, which may be woken for nothing and rest before."""

    def awake():
        if resting(clock):
            clock.advance(PAUSE)
        return waiting.called

    await until(awake, clock)
    return await waiting


@pytest_twisted.ensureDeferred
async def test_what_is_there_is_answered_at_once(database, node, reads):
    await made_org(database)
    await node.inbox.store(ME, [SMS])
    (message,) = await soon(listening(node))
    assert (message["id"], reads(), node.bell.waiting, node.hearing.waiting) == (1, 1, 0, 0)


@pytest_twisted.ensureDeferred
async def test_what_comes_is_heard_when_it_comes(database, node, reads):
    await made_org(database)
    await node.inbox.store(ME, [SMS])
    waiting = listening(node, since_id=1)
    await asleep(node)
    assert (reads(), node.hearing.waiting) == (1, 1)
    await node.inbox.store(ME, [SMS, SMS])
    assert [message["id"] for message in await soon(waiting)] == [2, 3]
    assert (reads(), node.bell.waiting, node.hearing.waiting) == (2, 0, 0)


@pytest_twisted.ensureDeferred
async def test_what_is_stored_while_a_reader_reads_is_not_missed(database, node):
    await made_org(database)
    with node.database.answers_held("read_messages", most=1) as gate:
        waiting = listening(node)
        await soon(gate.reached)
        await node.inbox.store(ME, [SMS])
    assert len(await soon(waiting)) == 1


@pytest_twisted.ensureDeferred
async def test_when_the_time_is_over_the_page_is_empty_and_nobody_read_meanwhile(
    database, node, clock, reads
):
    await made_org(database)
    waiting = listening(node, wait=2.5, direction="in")
    await asleep(node)
    clock.advance(2.4)
    assert not waiting.called
    clock.advance(0.1)
    assert await soon(waiting) == []
    assert reads() == 1


@pytest.mark.parametrize(
    "asked",
    [{"direction": "out"}, {"address": "+1777"}, {"since_id": 1}, {"sim": "3"}, {"sim": "+1999"}],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_what_was_not_asked_for_wakes_nobody_for_good(database, node, clock, asked):
    await made_org(database)
    waiting = listening(node, wait=5, **asked)
    await asleep(node)
    await node.inbox.store(ME, [SMS])
    await rested(clock)
    await asleep(node)
    clock.advance(5)
    assert await soon(waiting) == []


@pytest_twisted.ensureDeferred
async def test_a_reader_that_wants_little_of_a_busy_org_reads_ten_times_a_second_at_most(
    database, node, clock, reads
):
    await made_org(database)
    waiting = listening(node, address="+1777")
    await asleep(node)
    await node.inbox.store(ME, [SMS])
    for _ in range(20):
        await node.inbox.store(ME, [SMS])
    await rested(clock)
    await rested(clock)
    assert reads() == 3
    await node.inbox.store(ME, [Inbound(address="+1777", body="a private text")])
    assert len(await heard(waiting, clock)) == 1


@pytest_twisted.ensureDeferred
async def test_who_waits_for_a_status_hears_of_a_ticket_that_takes_it(database, node):
    await made_org(database)
    phone = await node.come(RecordingPhone(), Sim(slot=0, number="+1555"))
    await node.send(None)
    waiting = listening(node, status="sent")
    await asleep(node)
    await node.result(phone.visit, 1)
    (ticket,) = await soon(waiting)
    assert (ticket["id"], ticket["status"]) == (1, "sent")
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_is_cancelled_wakes_who_waits_for_it(database, node):
    await made_org(database)
    await node.send("+1999")
    waiting = listening(node, status="cancelled")
    await asleep(node)
    await node.archive.cancel(ME, 1)
    (ticket,) = await soon(waiting)
    assert ticket["id"] == 1


@pytest_twisted.ensureDeferred
async def test_a_hundred_readers_of_one_org_share_a_reading_and_two_read_at_a_time(
    database, node, reads
):
    await made_org(database)
    same = [listening(node) for _ in range(100)]
    others = [listening(node, limit=limit) for limit in range(2, 52)]
    await asleep(node, 150)
    before = reads()
    with node.database.held("read_messages") as gate:
        await node.inbox.store(ME, [SMS])
        await soon(gate.reached)
        assert node.database.under_way == 2
    await until(lambda: all(waiting.called for waiting in same + others), node.clock)
    pages = [await waiting for waiting in same + others]
    assert all(len(page) == 1 for page in pages)
    # The first two began before the others asked.
    assert reads() - before == len(others) + 1 + 2
    node.clock.advance(0)


@pytest_twisted.ensureDeferred
async def test_a_reader_that_hangs_up_leaves_its_place_at_once(database, node):
    await made_org(database)
    waiting = listening(node)
    await asleep(node)
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    assert (node.bell.waiting, node.hearing.waiting) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_at_the_end_all_hear_what_there_is_and_the_gateway_waits_for_that(database, node):
    await made_org(database)
    waiting = [listening(node), listening(node, status="sent")]
    await asleep(node, 2)
    with node.database.held("read_messages") as gate:
        node.bell.close()
        drained = Deferred.fromCoroutine(node.hearing.drained())
        await soon(gate.reached)
        assert not drained.called
    assert [await soon(page) for page in waiting] == [[], []]
    await soon(drained)
    assert await soon(listening(node)) == []
    await soon(node.hearing.drained())


@pytest_twisted.ensureDeferred
async def test_what_comes_after_a_key_was_deleted_is_not_told_to_its_holder(database, node):
    await made_org(database)
    callers = []
    for name in ("stays", "goes"):
        new = NewKey(name=name, scopes=("read",))
        made = await soon(node.keys.make(Keeper(ORG, PEPPER.seal(ORG, SECRET), HOME), new))
        callers.append(await soon(node.doorman.open(ORG, made.text, ("read",))))
    stays, goes = (listening(node, caller=caller) for caller in callers)
    await asleep(node, 2)
    await node.keys.delete(ME, callers[1].key.id)
    await node.inbox.store(ME, [SMS])
    assert len(await soon(stays)) == 1
    with pytest.raises(WrongKey):
        await soon(goes)
    assert (node.bell.waiting, node.hearing.waiting) == (0, 0)


# -- other nodes -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_another_node_stores_is_found_by_one_question_for_all(
    database, conninfo, clock, hashing, node, reads
):
    pool = await opened(conninfo)
    other = Node(pool, clock, name="node-2", hashing=hashing)
    await made_org(database)
    await made_org(database, "other-org")
    try:
        waiting, still = listening(node), listening(node, org_id="other-org")
        await asleep(node, 2)
        await node.bell.look()
        await rested(clock, 2)
        await asleep(node, 2)
        before = reads()
        for _ in range(3):
            await node.bell.look()
        assert reads() == before
        await other.inbox.store(ME, [SMS])
        await node.bell.look()
        assert len(await soon(waiting)) == 1
        assert reads() == before + 1
        still.cancel()
        still.addErrback(lambda failure: failure.trap(CancelledError))
    finally:
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_who_comes_again_within_a_second_is_not_woken_by_what_it_has_seen(
    database, node, clock, reads
):
    await made_org(database)
    first = listening(node)
    await asleep(node)
    await node.bell.look()
    await rested(clock)
    await asleep(node)
    second = listening(node, limit=1)
    await asleep(node, 2)
    before = reads()
    await node.bell.look()
    assert reads() == before
    for waiting in (first, second):
        waiting.cancel()
        waiting.addErrback(lambda failure: failure.trap(CancelledError))


@pytest_twisted.ensureDeferred
async def test_the_status_that_another_node_gave_is_seen_at_the_end_of_the_time(
    database, node, clock
):
    await made_org(database)
    await node.send("+1999")
    waiting = listening(node, wait=1, status="cancelled")
    await asleep(node)
    await node.bell.look()
    await rested(clock)
    await asleep(node)
    await tickets.cancel(database, ORG, 1)
    await node.bell.look()
    assert not waiting.called
    clock.advance(1)
    assert len(await soon(waiting)) == 1
