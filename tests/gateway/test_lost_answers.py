"""A commit whose answer was lost is looked up: nothing is stuck, doubled or overtaken by it."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import HOME, ORG, SECRET, Node, RecordingPhone, made_org, soon, sql, tickets
from twisted.internet.defer import Deferred

from smsd.domain.credentials import Credentials
from smsd.domain.errors import Unavailable
from smsd.domain.records import Inbound
from smsd.gateway.doorman import Newcomer
from smsd.gateway.visit import Identity, Limits
from smsd.store.trouble import Unanswered
from smsd.store.waiter import NotYetKnown

LOOK_UP = "look up a batch"
LEDGER = Identity("a-device", keeps_ledger=True)
WRITES = [
    pytest.param(True, id="it was carried out"),
    pytest.param(False, id="it never came to Postgres"),
]


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def lose(node: Node, name: str, *, done: bool = True, silent: int = 0) -> None:
    """Nobody hears of the next statement of this name, whether or not it is carried out; so many
    look-ups find no database."""
    if done:
        node.database.lose(name)
    else:
        node.database.fail(name, Unanswered())
    for _ in range(silent):
        node.database.fail(LOOK_UP, Unavailable())


def start(coroutine):
    return Deferred.fromCoroutine(coroutine)


def statuses(accepted) -> list[str]:
    return [ticket.status for ticket in accepted.results]


async def passed(node: Node, waited_for: Deferred | None = None) -> None:
    """Time goes on until this, or everything that was started, has come to its end; it stands
    still while the database works."""
    waited_for = waited_for or start(node.spawn.idle())
    ticks = 0
    while not waited_for.called:
        if not node.database.under_way:
            node.clock.advance(0.25)
            ticks += 1
            assert ticks < 400, "it never ends"
        await sql(node.database, "SELECT 1")


# -- new tickets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_a_loss_that_is_cleared_up_at_once_is_noticed_by_nobody(node, org, database, done):
    phone = await node.come()
    lose(node, "append_messages", done=done)
    assert statuses(await node.send(None, None)) == ["sending"] * 2
    assert phone.pushed == [1, 2]
    assert phone.visit.promised == 0, "a place that is promised twice comes back once"
    assert await tickets(database) == {1: "sending", 2: "sending"}


@pytest_twisted.ensureDeferred
async def test_a_ticket_in_doubt_is_pushed_once_when_it_is_known_and_not_before(
    node, org, database
):
    phone = await node.come()
    lose(node, "append_messages", silent=2)
    with pytest.raises(NotYetKnown) as caught:
        await node.send()
    assert caught.value.retry_after
    assert phone.pushed == []
    await passed(node)
    assert phone.pushed == [1]
    assert await node.result(phone.visit, 1) == "settled"
    assert statuses(await node.send()) == ["sending"]
    assert phone.pushed == [1, 2]
    assert phone.visit.places == 63


@pytest_twisted.ensureDeferred
async def test_a_ticket_in_doubt_that_was_never_stored_gives_its_place_back(node, org, database):
    phone = await node.come()
    lose(node, "append_messages", done=False, silent=2)
    with pytest.raises(NotYetKnown):
        await node.send(*[None] * 64)
    assert phone.visit.places == 0
    await passed(node)
    assert phone.visit.places == 64
    assert await tickets(database) == {}
    assert statuses(await node.send()) == ["sending"]
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_while_a_lane_is_in_doubt_all_others_are_sent_away_and_ask_nobody(node, org):
    await node.come()
    lose(node, "append_messages", silent=2)
    with pytest.raises(NotYetKnown):
        await node.send()
    before = node.database.run_names.copy()
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            await node.send()
        assert not isinstance(caught.value, NotYetKnown)
        assert caught.value.retry_after
    assert node.database.run_names == before
    await passed(node)
    assert statuses(await node.send()) == ["sending"]


@pytest_twisted.ensureDeferred
async def test_nothing_overtakes_a_ticket_in_doubt(database, clock, hashing, org):
    """Neither what another node has queued meanwhile, nor what comes after it."""
    node = Node(database, clock, hashing=hashing)
    other = Node(database, clock, name="node-2", hashing=hashing)
    phone = await node.come()
    lose(node, "append_messages", silent=4)
    with pytest.raises(NotYetKnown):
        await node.send()
    await other.send()
    await node.feeding.poll()
    node.feeding.tick()
    await sql(database, "SELECT 1")
    assert phone.pushed == []
    await passed(node)
    await node.send()
    await node.feeding.poll()
    await node.settled()
    assert phone.pushed == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_however_long_nobody_can_say_it_is_asked_for_every_second(node, org, clock):
    """So that all is well soon after the database is back."""
    lose(node, "append_messages", silent=1000)
    with pytest.raises(NotYetKnown):
        await node.send()
    await sql(node.database, "SELECT 1")
    for _ in range(60):
        clock.advance(0.5)
    before = node.database.run_names[LOOK_UP]
    for _ in range(20):
        clock.advance(0.5)
    assert node.database.run_names[LOOK_UP] - before >= 10
    node.patience.end()
    await passed(node)


@pytest_twisted.ensureDeferred
async def test_a_queued_ticket_in_doubt_is_fed_when_it_is_known(node, org, database):
    """It was stored as queued, for its phone took no more; nothing else would wake that."""
    phone = await node.come()
    phone.writable = False
    lose(node, "append_messages", silent=2)
    with pytest.raises(NotYetKnown):
        await node.send()
    phone.writable = True
    await passed(node)
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_a_ticket_in_doubt_whose_phone_has_left_goes_to_the_next(node, org, database):
    phone = await node.come()
    lose(node, "append_messages", silent=3)
    with pytest.raises(NotYetKnown):
        await node.send()
    node.attendance.end(phone.visit, "a test")
    await passed(node)
    assert await tickets(database) == {1: "queued"}
    assert (await node.come()).pushed == [1]
    assert phone.pushed == []


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_ends_in_doubt_does_not_wait_for_the_truth(node, org, clock):
    phone = await node.come()
    lose(node, "append_messages", silent=100)
    with pytest.raises(NotYetKnown):
        await node.send()
    node.feeding.close()
    node.attendance.end(phone.visit, "a test")
    node.patience.end()
    await passed(node)
    assert start(node.outbox.drained()).called


# -- SMS that arrive -----------------------------------------------------------------------------


def sms(body: str = "a private text", **more) -> Inbound:
    return Inbound(address="+15551112222", body=body, **more)


async def bodies(database) -> list[str]:
    return [body for (body,) in await sql(database, "SELECT body FROM messages ORDER BY id")]


@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_an_sms_whose_loss_is_cleared_up_at_once_is_stored_once(node, org, database, done):
    lose(node, "append_messages", done=done)
    assert await soon(node.inbox.store(org, [sms("1"), sms("2")])) == 2
    assert await bodies(database) == ["1", "2"]


@pytest_twisted.ensureDeferred
async def test_who_posts_an_sms_hears_at_once_that_nobody_knows(node, org, database):
    lose(node, "append_messages", silent=2)
    with pytest.raises(NotYetKnown):
        await soon(node.inbox.store(org, [sms(id=7)]))
    await passed(node, start(node.inbox.drained()))
    assert await soon(node.inbox.store(org, [sms(id=7)])) == 1
    assert len(await bodies(database)) == 1


@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_what_comes_over_a_session_is_held_until_it_is_known_and_stored_once(
    node, org, database, done
):
    """It has no id, and the session's desk tries again by itself what is unavailable."""
    phone = await node.come()
    lose(node, "append_messages", done=done, silent=4)
    until = node.clock.seconds() + 10
    storing = start(
        node.patience.insist(
            lambda: node.inbox.store(org, [sms("1")], phone.visit, until=until), until=until
        )
    )
    await sql(database, "SELECT 1")
    assert not storing.called
    await passed(node, storing)
    assert await storing == 1
    assert await bodies(database) == ["1"]


@pytest_twisted.ensureDeferred
async def test_what_is_not_known_in_time_is_neither_held_any_longer_nor_stored_again(
    node, org, clock
):
    """A doubt may come at once, as when all connections die together."""
    phone = await node.come()
    lose(node, "append_messages", silent=100)
    until = clock.seconds() + 10
    storing = start(
        node.patience.insist(
            lambda: node.inbox.store(org, [sms()], phone.visit, until=until), until=until
        )
    )
    while not node.database.run_names[LOOK_UP] >= 2:
        await sql(node.database, "SELECT 1")
    clock.advance(9.9)
    assert not storing.called
    clock.advance(0.1)
    with pytest.raises(NotYetKnown):
        await soon(storing)
    node.patience.end()
    await passed(node, start(node.inbox.drained()))


@pytest_twisted.ensureDeferred
async def test_a_claim_whose_commit_answer_is_lost_is_unavailable_and_safe_to_repeat(
    node, database
):
    """The org may be there with its first messages; with an id they are not stored again."""
    newcomer = Newcomer(Credentials(ORG, SECRET), HOME)
    assert isinstance(await soon(node.ask(claim=True)), Newcomer)
    node.database.lose("claim org")
    with pytest.raises(Unavailable) as caught:
        await soon(node.inbox.store(newcomer, [sms(id=7)]))
    assert not isinstance(caught.value, NotYetKnown)
    who = await soon(node.ask(claim=True))
    assert await soon(node.inbox.store(who, [sms(id=7)])) == 1
    assert len(await bodies(database)) == 1
    assert await node.answer("a-wrong-guess-1", claim=True) == "Unauthorised"


# -- what waits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [0, 3])
@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_tickets_whose_claim_was_lost_are_pushed_once_and_in_order(
    database, clock, hashing, org, silent, done
):
    node = Node(database, clock, hashing=hashing, limits=Limits(2, 2))
    await node.send(None, None, None)
    lose(node, "claim_tickets", done=done, silent=silent)
    phone = RecordingPhone()
    coming = start(node.come(phone))
    await passed(node, coming)
    node.feeding.tick()  # a void claim is made again
    assert statuses(await node.send()) == ["queued"]
    await passed(node)
    assert phone.pushed == [1, 2]
    for id_ in (1, 2, 3, 4):
        assert await node.result(phone.visit, id_) == "settled"
        phone.visit.receipt(phone.mark)
        node.feeding.feed(phone.visit)
        await node.settled()
    assert phone.pushed == [1, 2, 3, 4]


@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_tickets_whose_claim_is_in_doubt_when_their_phone_leaves_wait_again(
    node, org, database, done
):
    await node.send(None, None)
    lose(node, "claim_tickets", done=done, silent=3)
    phone = RecordingPhone()
    coming = start(node.come(phone))
    while not node.database.run_names[LOOK_UP]:
        await sql(database, "SELECT 1")
    node.attendance.end(phone.visit, "a test")
    await passed(node, coming)
    assert phone.pushed == []
    assert await tickets(database) == {1: "queued", 2: "queued"}
    assert await sql(database, "SELECT attempts FROM messages") == [(0,), (0,)]
    assert (await node.come()).pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_ends_while_a_claim_is_in_doubt_does_not_wait(node, org):
    await node.send()
    lose(node, "claim_tickets", silent=100)
    phone = RecordingPhone()
    coming = start(node.come(phone))
    while not node.database.run_names[LOOK_UP]:
        await sql(node.database, "SELECT 1")
    node.feeding.close()
    node.attendance.end(phone.visit, "a test")
    node.patience.end()
    await passed(node, coming)
    await passed(node)


@pytest.mark.parametrize("silent", [0, 3])
@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_tickets_that_were_to_be_pushed_again_are_so_once(node, org, database, silent, done):
    first = await node.come(identity=LEDGER)
    await node.send(None, None)
    await node.leave(first)
    lose(node, "push_again", done=done, silent=silent)
    again = RecordingPhone()
    coming = start(node.come(again, identity=LEDGER))
    await passed(node, coming)
    node.feeding.tick()
    await passed(node)
    assert again.pushed == [1, 2]
    assert await sql(database, "SELECT attempts FROM messages") == [(2,), (2,)]
    assert await node.result(again.visit, 2) == "settled"


# -- the end of a visit --------------------------------------------------------------------------


@pytest.mark.parametrize("done", WRITES)
@pytest_twisted.ensureDeferred
async def test_what_is_known_of_pushes_is_written_down_once(node, org, database, done):
    """One was read by the phone, one was not written; an heir is waiting for that."""
    first, second = await node.come(), await node.come()
    await node.send()
    first.visit.receipt(first.mark)
    with node.database.answers_held("append_messages") as gate:
        sending = start(node.send())
        await soon(gate.reached)
        first.writable = False
    await sending
    lose(node, "end_pushes", done=done)
    node.attendance.end(first.visit, "a test")
    await passed(node)
    assert second.pushed == [2]
    rows = await sql(database, "SELECT status, attempts, receipted FROM messages ORDER BY id")
    assert rows == [("sending", 1, 1), ("sending", 1, 0)]


# -- this node among others ----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_node_that_may_have_been_held_for_dead_tells_of_its_phones_again(
    node, org, database
):
    phone = await node.come()
    await node.upkeep.beat()
    await sql(database, "DELETE FROM nodes; DELETE FROM sessions")
    node.database.lose("beat")
    with pytest.raises(Unavailable):
        await node.upkeep.beat()
    await node.upkeep.beat()
    await node.settled()
    told = "SELECT session_id::text FROM sessions"
    assert await sql(database, told) == [(phone.visit.session_id,)]
    before = node.database.run_names["begin_sessions"]
    await node.upkeep.beat()
    assert node.database.run_names["begin_sessions"] == before


@pytest_twisted.ensureDeferred
async def test_batches_that_nobody_asks_for_any_more_are_forgotten(node, org, database):
    await node.send()
    await sql(database, "UPDATE batches SET at = at - interval '2 hours'")
    await node.upkeep._prune()
    assert await sql(database, "SELECT count(*) FROM batches") == [(0,)]
