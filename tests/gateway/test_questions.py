"""A question goes out once, and its answer is what comes back from its number first."""

import json

import pytest
import pytest_twisted
from databases import opened
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets
from test_hearing import asleep, heard
from twisted.internet.defer import CancelledError, Deferred

from smsd.domain.allowance import Allowance
from smsd.domain.call_key import CallKey
from smsd.domain.errors import Invalid, NotFound, StillAsking, TooManySends
from smsd.domain.records import Draft, Inbound, Sim
from smsd.gateway.doorman import Caller

ME = Caller(ORG)
THEM = "+15550001111"
ASKED = Draft(to=THEM, body="a private text?")
YES = Inbound(address=THEM, body="a private text")
KEY = CallKey("one", "aa")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def asking(node, key=None, wait=60.0, draft=ASKED):
    """Somebody who asks; fires with the ticket's status, the reply's id, whether replayed."""

    async def whole():
        with node.questions.place(ME, key):
            question = await node.questions.send(ME, draft, key)
            answered = await node.questions.hear(ME, question, wait)
        reply = answered.reply and json.loads(answered.reply)["id"]
        return answered.ticket.status, reply, question.replayed

    return Deferred.fromCoroutine(whole())


@pytest_twisted.ensureDeferred
async def test_what_comes_back_is_the_answer_and_comes_at_once(node, org):
    phone = await node.come(RecordingPhone(), Sim(slot=0, number="+1777"))
    waiting = asking(node)
    await asleep(node)
    assert phone.pushed == [1]
    await node.result(phone.visit, 1)
    await node.inbox.store(ME, [Inbound(address="+1666", body="a private text")])
    await node.inbox.store(ME, [YES, YES], phone.visit)
    assert await heard(waiting, node.clock) == ("sent", 3, False)
    assert (node.bell.waiting, node.hearing.waiting) == (0, 0)
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_without_a_reply_the_ticket_so_far_is_the_answer_when_the_time_is_over(
    node, org, clock
):
    waiting = asking(node, wait=7)
    await asleep(node)
    clock.advance(6.9)
    assert not waiting.called
    clock.advance(0.1)
    assert await soon(waiting) == ("queued", None, False)


@pytest_twisted.ensureDeferred
async def test_who_does_not_wait_is_answered_at_once(node, org):
    assert await soon(asking(node, wait=0)) == ("queued", None, False)


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_ends_unsent_is_not_waited_for(node, org):
    waiting = asking(node)
    await asleep(node)
    await node.archive.cancel(ME, 1)
    assert await soon(waiting) == ("cancelled", None, False)
    phone = await node.come(RecordingPhone())
    waiting = asking(node)
    await asleep(node)
    await node.result(phone.visit, 2, success=False)
    assert await heard(waiting, node.clock) == ("failed", None, False)
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_a_reply_to_another_sim_is_none(node, org, clock):
    waiting = asking(node, draft=Draft(to=THEM, body="a private text?", sim="+1777"))
    await asleep(node)
    await node.inbox.store(ME, [Inbound(address=THEM, body="a private text", sim_number="+1778")])
    await node.inbox.store(ME, [Inbound(address=THEM, body="a private text", sim_number="+1777")])
    assert await heard(waiting, clock) == ("queued", 3, False)


@pytest_twisted.ensureDeferred
async def test_what_another_node_hears_is_the_answer_too(node, org, conninfo, hashing, clock):
    pool = await opened(conninfo)
    other = Node(pool, clock, name="node-2", hashing=hashing)
    try:
        waiting = asking(node)
        await asleep(node)
        await other.inbox.store(ME, [YES])
        await node.bell.look()
        assert await soon(waiting) == ("queued", 2, False)
    finally:
        await pool.close()


# -- once ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_repeated_call_sends_nothing_waits_for_nothing_and_tells_how_it_is(
    node, org, database, clock
):
    waiting = asking(node, KEY, wait=1)
    await asleep(node)
    clock.advance(1)
    assert await soon(waiting) == ("queued", None, False)
    assert await soon(asking(node, KEY)) == ("queued", None, True)
    await node.inbox.store(ME, [YES])
    assert await soon(asking(node, KEY)) == ("queued", 2, True)
    await node.inbox.store(ME, [YES])
    assert await soon(asking(node, KEY)) == ("queued", 2, True)
    assert await tickets(database) == {1: "queued"}


@pytest_twisted.ensureDeferred
async def test_while_the_first_call_waits_the_same_call_is_told_so_and_another_refused(
    node, org, database
):
    waiting = asking(node, KEY)
    await asleep(node)
    with pytest.raises(StillAsking) as told:
        await soon(asking(node, KEY))
    assert told.value.retry_after
    with pytest.raises(Invalid):
        await soon(asking(node, CallKey("one", "bb")))
    assert await soon(asking(node, CallKey("two", "aa"), wait=0)) == ("queued", None, False)
    await node.inbox.store(ME, [YES])
    assert await heard(waiting, node.clock) == ("queued", 3, False)
    assert await soon(asking(node, KEY)) == ("queued", 3, True)
    assert len(await tickets(database)) == 2


@pytest_twisted.ensureDeferred
async def test_the_same_call_is_under_way_from_before_its_commit(node, org, database):
    with node.database.held("append_messages", most=1) as gate:
        first = asking(node, KEY, wait=0)
        await soon(gate.reached)
        with pytest.raises(StillAsking):
            await soon(asking(node, KEY))
    assert await soon(first) == ("queued", None, False)
    assert len(await tickets(database)) == 1


@pytest_twisted.ensureDeferred
async def test_after_a_hang_up_the_call_can_be_repeated_and_nothing_is_sent_twice(
    node, org, database
):
    waiting = asking(node, KEY)
    await asleep(node)
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    assert (node.bell.waiting, node.hearing.waiting) == (0, 0)
    assert await soon(asking(node, KEY)) == ("queued", None, True)
    assert await tickets(database) == {1: "queued"}


@pytest_twisted.ensureDeferred
async def test_what_was_refused_is_not_under_way_nor_remembered(node, org, database):
    node.allowances.renew(Allowance(max_sends_per_minute=1))
    await node.send()
    with pytest.raises(TooManySends):
        await soon(asking(node, KEY))
    node.allowances.renew(Allowance())
    assert await soon(asking(node, KEY, wait=0)) == ("queued", None, False)


@pytest_twisted.ensureDeferred
async def test_a_question_that_was_deleted_is_not_found(node, org):
    assert await soon(asking(node, KEY, wait=0)) == ("queued", None, False)
    await node.archive.forget(ME, THEM)
    with pytest.raises(NotFound):
        await soon(asking(node, KEY))


@pytest_twisted.ensureDeferred
async def test_at_the_end_who_asked_hears_how_the_ticket_is(node, org):
    waiting = asking(node)
    await asleep(node)
    node.bell.close()
    drained = Deferred.fromCoroutine(node.hearing.drained())
    assert await soon(waiting) == ("queued", None, False)
    await soon(drained)


@pytest_twisted.ensureDeferred
async def test_nothing_is_given_away_before_it_was_accepted(node, org, database):
    await node.send()
    waiting = await node.archive.ticket(ME, 1)
    assert [moment.what for moment in waiting.history] == ["accepted"]
    await sql(database, "UPDATE messages SET handed_at = created_at - interval '2 microseconds'")
    accepted, given = (await node.archive.ticket(ME, 1)).history
    assert (given.what, given.at) == ("given", accepted.at)
    await sql(database, "UPDATE messages SET handed_at = created_at + interval '2 microseconds'")
    accepted, given = (await node.archive.ticket(ME, 1)).history
    assert given.at > accepted.at
