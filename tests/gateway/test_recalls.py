"""A phone that keeps a ledger is asked for a ticket that it has, and its word counts."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets
from test_lost_answers import start

from smsd.domain.errors import NotCancellable
from smsd.gateway.doorman import Caller
from smsd.gateway.recalls import WITHIN
from smsd.gateway.visit import Identity, Limits
from smsd.store.trouble import away

LEDGER = Identity("handy", keeps_ledger=True)
ME = Caller(ORG)


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def asked(phone):
    """For which tickets the phone was asked."""
    return [id_ for what, id_ in phone.events if what == "ask back"]


async def come_to_ask(database, phone, number=1):
    """Wait until the phone was asked so often, at most as long as a thousand statements take."""
    for _ in range(1000):
        if len(asked(phone)) == number:
            return
        await sql(database, "SELECT 1")
    raise AssertionError("it was not asked")


async def cancelling(node, database, phone, number=1):
    """An agent wants ticket 1 back, and its phone was asked."""
    call = start(node.archive.cancel(ME, 1))
    await come_to_ask(database, phone, number)
    return call


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_its_phone_gives_back_is_cancelled(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    assert asked(phone) == [1]
    assert not call.called
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "cancelled"
    seen = await soon(call)
    assert (seen.status, seen.attempts) == ("cancelled", 1)
    assert not phone.visit.has(1)
    assert (await soon(node.archive.cancel(ME, 1))).status == "cancelled"
    assert asked(phone) == [1]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_has_sent_what_it_gave_back_is_believed(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    await soon(node.recalls.take(phone.visit, 1, cancelled=True))
    assert (await soon(call)).status == "cancelled"
    await node.result(phone.visit, 1)
    assert await tickets(database) == {1: "sent"}


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_its_phone_keeps_goes_on_as_before(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=False)) == "refused"
    with pytest.raises(NotCancellable, match="sending"):
        await soon(call)
    assert await node.result(phone.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent"}


@pytest_twisted.ensureDeferred
async def test_a_phone_that_does_not_answer_is_waited_for_no_longer_than_it_may_take(
    node, org, database, clock
):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    clock.advance(WITHIN - 0.1)
    assert not call.called
    clock.advance(0.1)
    with pytest.raises(NotCancellable):
        await soon(call)
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "cancelled"
    assert await tickets(database) == {1: "cancelled"}


@pytest_twisted.ensureDeferred
async def test_a_result_that_was_quicker_is_told(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    assert await node.result(phone.visit, 1) == "settled"
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=False)) == "refused"
    with pytest.raises(NotCancellable, match="sent"):
        await soon(call)


@pytest.mark.parametrize("identity", [Identity(), Identity("handy")], ids=["nameless", "named"])
@pytest_twisted.ensureDeferred
async def test_a_phone_without_a_ledger_is_not_asked_and_its_word_is_nothing(
    node, org, database, identity
):
    phone = await node.come(identity=identity)
    await node.send()
    with pytest.raises(NotCancellable):
        await soon(node.archive.cancel(ME, 1))
    assert asked(phone) == []
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "ignored"
    assert await tickets(database) == {1: "sending"}


@pytest_twisted.ensureDeferred
async def test_only_the_phone_that_has_the_ticket_is_asked_and_may_give_it_back(
    node, org, database
):
    phone = await node.come(identity=LEDGER)
    other = await node.come(identity=Identity("other", keeps_ledger=True))
    await node.send()
    call = await cancelling(node, database, phone)
    assert asked(other) == []
    assert await soon(node.recalls.take(other.visit, 1, cancelled=True)) == "ignored"
    assert not call.called
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "cancelled"
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "repeated"
    assert (await soon(call)).status == "cancelled"


@pytest.mark.parametrize("ticket", [1, 2], ids=["never pushed", "none"])
@pytest_twisted.ensureDeferred
async def test_what_was_never_pushed_cannot_be_given_back(node, org, database, ticket):
    await node.send(7)
    phone = await node.come(identity=LEDGER)
    assert await soon(node.recalls.take(phone.visit, ticket, cancelled=True)) == "unknown"
    assert await tickets(database) == {1: "queued"}


@pytest_twisted.ensureDeferred
async def test_what_the_transport_has_not_taken_is_not_asked_for(node, org, database):
    phone = await node.come(identity=LEDGER)
    with node.database.held("append_messages", most=1) as gate:
        sending = start(node.send())
        await soon(gate.reached)
        phone.writable = False
    await soon(sending)
    with pytest.raises(NotCancellable):
        await soon(node.archive.cancel(ME, 1))
    assert asked(phone) == []


@pytest_twisted.ensureDeferred
async def test_the_place_of_a_ticket_that_was_given_back_is_free(database, org, clock, hashing):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=1, unanswered=1))
    phone = await node.come(identity=LEDGER)
    await node.send(None, None)
    assert phone.pushed == [1]
    await cancelling(node, database, phone)
    await soon(node.recalls.take(phone.visit, 1, cancelled=True))
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest.mark.parametrize("whose", ["the same org's", "another org's"])
@pytest_twisted.ensureDeferred
async def test_another_phones_word_on_a_ticket_of_that_number_answers_nobody(
    node, org, database, whose
):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    other = ORG if whose == "the same org's" else (await made_org(database, "another")).org_id
    stranger = await node.come(identity=Identity("other", keeps_ledger=True), org_id=other)
    asked_so_far = node.database.run_names.copy()
    assert await soon(node.recalls.take(stranger.visit, 1, cancelled=False)) == "refused"
    assert node.database.run_names == asked_so_far, "who waits has looked, as if it were answered"
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "cancelled"
    assert (await soon(call)).status == "cancelled"


@pytest_twisted.ensureDeferred
async def test_two_agents_who_ask_at_once_hear_the_same(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    calls = [await cancelling(node, database, phone, number) for number in (1, 2)]
    await soon(node.recalls.take(phone.visit, 1, cancelled=True))
    assert [(await soon(call)).status for call in calls] == ["cancelled", "cancelled"]


@pytest_twisted.ensureDeferred
async def test_after_a_crash_the_ticket_is_pushed_again_and_given_back_again(
    node, org, database, clock, hashing
):
    """The gateway died between the phone's answer and its commit: nobody asks any more."""
    phone = await node.come(identity=LEDGER)
    await node.send()
    (await cancelling(node, database, phone)).addErrback(lambda _: None)
    second = Node(database, clock, name="node-2", hashing=hashing)
    await sql(database, "DELETE FROM sessions")
    again = await second.come(identity=LEDGER)
    assert again.pushed == [1]
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "ignored"
    assert await soon(second.recalls.take(again.visit, 1, cancelled=True)) == "cancelled"
    assert await tickets(database) == {1: "cancelled"}
    clock.advance(WITHIN)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_the_database_is_away_for_is_written_down_later(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    node.database.fail("cancel_handed", away())
    answer = start(node.recalls.take(phone.visit, 1, cancelled=True))
    await sql(database, "SELECT 1")
    assert not answer.called
    node.clock.advance(1)
    assert await soon(answer) == "cancelled"
    assert (await soon(call)).status == "cancelled"


@pytest_twisted.ensureDeferred
async def test_a_late_success_of_another_phone_is_the_truth(node, org, database):
    """The ticket had waited again though a phone had it, and that one had sent it."""
    plain = await node.come()
    await node.send()
    await sql(database, "UPDATE messages SET status = 'queued', handed_at = NULL")
    plain.visit.given_up({1})
    await node.leave(plain)
    phone = await node.come(identity=LEDGER)
    assert phone.pushed == [1]
    await cancelling(node, database, phone)
    await soon(node.recalls.take(phone.visit, 1, cancelled=True))
    assert await tickets(database) == {1: "cancelled"}
    back = await node.come()
    assert await node.result(back.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent"}


@pytest_twisted.ensureDeferred
async def test_an_agent_that_hangs_up_leaves_nothing_behind(node, org, database):
    phone = await node.come(identity=LEDGER)
    await node.send()
    call = await cancelling(node, database, phone)
    call.addErrback(lambda _: None)
    call.cancel()
    assert node.recalls._asked == {}
    assert node.clock.getDelayedCalls() == []
    assert await soon(node.recalls.take(phone.visit, 1, cancelled=True)) == "cancelled"
