"""Tickets with a time: sent not before it, not after it, and the more important ones first."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
import pytest_twisted
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets
from test_expiry import TTL, older

from smsd.domain.allowance import Allowance
from smsd.domain.errors import Invalid, QueueFull
from smsd.domain.records import Draft, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.visit import Identity, Limits
from smsd.store import schedule

HOUR = 3600
SIM = Sim(slot=0, number="+15550001")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(time.time() + seconds, UTC)


def draft(**more):
    return Draft(to="+15550001111", body="hi", **more)


async def accept(node: Node, *drafts: Draft, **more):
    return await soon(node.outbox.accept(Caller(ORG), drafts, lone=len(drafts) == 1, **more))


async def turn(node: Node) -> None:
    await node.upkeep.schedule.turn()
    await node.settled()


async def reached(database, *ids: int) -> None:
    """The next moment of these tickets has come: it is past."""
    await sql(
        database,
        """UPDATE messages SET not_before = CASE WHEN not_before IS NOT NULL THEN now() END,
               send_at = CASE WHEN send_at IS NOT NULL THEN now() END,
               expires_at = CASE WHEN not_before IS NULL THEN now() ELSE expires_at END
           WHERE id = ANY (%(ids)s::bigint[])""",
        ids=list(ids),
    )


# -- not before ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_ticket_for_later_is_no_phones_until_its_time(node, org, database):
    phone = await node.come(None, SIM)
    (told,) = (await accept(node, draft(send_at=moment(HOUR)), ahead=True)).results
    assert (told.status, told.outlook.taken_by) == ("queued", None)
    assert datetime.fromisoformat(told.outlook.not_before) > moment(HOUR - 60)
    await turn(node)
    assert phone.pushed == []
    await reached(database, 1)
    await turn(node)
    assert phone.pushed == [1]
    assert await tickets(database) == {1: "sending"}


@pytest_twisted.ensureDeferred
async def test_it_holds_nobody_up_and_asks_for_nothing(node, org, database):
    phone = await node.come(None, SIM)
    node.database.run_names.clear()
    await accept(node, draft(send_at=moment(HOUR)))
    told = await accept(node, draft())
    await node.settled()
    assert [ticket.status for ticket in told.results] == ["sending"]
    assert phone.pushed == [2]
    assert node.database.run_names == {"append_messages": 2}


@pytest_twisted.ensureDeferred
async def test_a_time_that_has_come_already_is_now(node, org, database):
    phone = await node.come(None, SIM)
    told = await accept(node, draft(send_at=moment(-HOUR)))
    assert told.results[0].status == "sending"
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_comes_before_the_time_does_not_get_it(node, org, database):
    await accept(node, draft(send_at=moment(HOUR)), draft())
    phone = await node.come(None, SIM)
    await node.feeding.poll()
    await node.settled()
    assert phone.pushed == [2]


@pytest_twisted.ensureDeferred
async def test_a_node_that_starts_anew_knows_the_times_from_the_table(
    node, database, clock, hashing
):
    await made_org(database)
    await accept(node, draft(send_at=moment(HOUR)))
    another = Node(database, clock, hashing=hashing, name="another")
    phone = await another.come(None, SIM)
    await reached(database, 1)
    await turn(another)
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_one_for_later_can_be_cancelled(node, org, database):
    await accept(node, draft(send_at=moment(HOUR)))
    seen = await soon(node.archive.cancel(Caller(ORG), 1))
    assert seen.status == "cancelled"
    assert datetime.fromisoformat(seen.send_at) > moment(HOUR - 60)
    await reached(database, 1)
    await turn(node)
    assert await tickets(database) == {1: "cancelled"}


@pytest_twisted.ensureDeferred
async def test_many_whose_time_has_come_go_in_more_than_one_batch(node, org, database, monkeypatch):
    monkeypatch.setattr(schedule, "TICKETS", 10)
    await accept(node, *[draft(send_at=moment(HOUR), ttl=HOUR) for _ in range(25)])
    await reached(database, *range(1, 26))
    await turn(node)
    assert await sql(database, "SELECT count(*) FROM messages WHERE not_before IS NULL") == [(25,)]
    assert set((await tickets(database)).values()) == {"queued"}


@pytest_twisted.ensureDeferred
async def test_those_for_later_count_as_waiting(database, clock, hashing):
    await made_org(database)
    await accept(Node(database, clock, hashing=hashing), draft(send_at=moment(HOUR)), draft())
    # One that knows of them from the table alone.
    node = Node(database, clock, hashing=hashing, allowance=Allowance(max_queued=2), name="another")
    with pytest.raises(QueueFull):
        await accept(node, draft())


# -- not after -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_nobody_sent_in_time_has_expired(node, org, database):
    await accept(node, draft(ttl=HOUR), draft(expires_at=moment(HOUR)), draft())
    await reached(database, 2)
    await turn(node)
    assert await tickets(database) == {1: "queued", 2: "expired", 3: "queued"}
    phone = await node.come(None, SIM)
    assert phone.pushed == [1, 3]


@pytest_twisted.ensureDeferred
async def test_a_claim_takes_none_that_is_too_late(node, org, database):
    await accept(node, draft(ttl=HOUR), draft())
    await reached(database, 1)
    phone = await node.come(None, SIM)
    assert phone.pushed == [2]
    assert await tickets(database) == {1: "queued", 2: "sending"}
    await turn(node)
    assert await tickets(database) == {1: "expired", 2: "sending"}


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "claimed"])
@pytest_twisted.ensureDeferred
async def test_the_phone_is_told_until_when(node, org, database, waits):
    given = []
    phone = RecordingPhone(pushed=given.extend)
    if not waits:
        await node.come(phone, SIM)
    await accept(node, draft(ttl=HOUR), draft())
    if waits:
        await node.come(phone, SIM)
    late, plain = [ticket.expires_at for ticket in given]
    assert abs(late / 1000 - time.time() - HOUR) < 60
    assert plain is None


@pytest_twisted.ensureDeferred
async def test_a_lifetime_begins_when_the_ticket_may_be_sent(node, org, database):
    await accept(node, draft(send_at=moment(HOUR), ttl=60))
    assert await sql(database, "SELECT extract(epoch FROM expires_at - send_at) FROM messages") == [
        (60,)
    ]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_dropped_it_says_so_and_it_has_expired(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, draft(ttl=HOUR), draft())
    for id_ in (1, 2):
        assert await node.result(phone.visit, id_, False, error="expired") == "settled"
    assert await sql(database, "SELECT status, error, error_detail FROM messages ORDER BY id") == [
        ("expired", None, None),
        ("failed", "phone_failed", "expired"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_sent_it_is_right_even_after_it_expired(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, draft(ttl=HOUR))
    assert await node.result(phone.visit, 1, False, error="expired") == "settled"
    assert await node.result(phone.visit, 1, False, error="expired") == "repeated"
    assert await node.result(phone.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent"}


@pytest.mark.parametrize("keeps_ledger", [False, True], ids=["plain", "ledger"])
@pytest_twisted.ensureDeferred
async def test_what_is_too_late_is_not_pushed_again_to_a_phone_that_is_back(
    node, org, database, keeps_ledger
):
    identity = Identity("handy", keeps_ledger=keeps_ledger)
    phone = await node.come(None, SIM, identity=identity)
    await accept(node, draft(ttl=HOUR), draft())
    await node.leave(phone)
    await reached(database, 1)
    phone = await node.come(None, SIM, identity=identity)
    node.clock.advance(5)
    node.feeding.tick()
    await node.settled()
    assert phone.pushed == [2]
    assert await tickets(database) == {1: "expired", 2: "sending"}
    assert await node.result(phone.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent", 2: "sending"}


@pytest_twisted.ensureDeferred
async def test_what_a_phone_has_does_not_expire_by_itself(node, org, database):
    await node.come(None, SIM)
    await accept(node, draft(ttl=HOUR))
    await reached(database, 1)
    await turn(node)
    assert await tickets(database) == {1: "sending"}


@pytest_twisted.ensureDeferred
async def test_an_orgs_own_time_for_waiting_begins_when_the_ticket_may_be_sent(
    database, clock, hashing
):
    node = Node(database, clock, hashing=hashing, allowance=Allowance(queue_ttl=TTL))
    await made_org(database)
    await accept(node, draft(send_at=moment(HOUR)), draft(priority=3), draft(send_at=moment(HOUR)))
    await older(database)
    await node.upkeep.expire()
    assert await tickets(database) == {1: "queued", 2: "failed", 3: "queued"}
    await reached(database, 1, 3)
    await turn(node)
    await node.upkeep.expire()
    assert await tickets(database) == {1: "queued", 2: "failed", 3: "queued"}
    await sql(database, "UPDATE messages SET send_at = send_at - interval '2 minutes' WHERE id = 3")
    await node.upkeep.expire()
    assert await tickets(database) == {1: "queued", 2: "failed", 3: "failed"}


# -- the more important first ----------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_waits_goes_by_priority_and_then_by_age(node, org, database):
    asked = [None, 0, 5, -3, 5, 10, -10, None]
    await accept(node, *[draft(priority=each, sim=at % 2) for at, each in enumerate(asked)])
    phone = await node.come(None, Sim(slot=0, number="+15550001"), Sim(slot=1))
    assert phone.pushed == [6, 3, 5, 1, 2, 8, 4, 7]


@pytest_twisted.ensureDeferred
async def test_a_new_one_of_a_high_priority_passes_those_that_wait_and_not_those_under_way(
    database, clock, hashing
):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=1, unanswered=1))
    await made_org(database)
    phone = await node.come(None, SIM)
    await accept(node, draft(), draft())
    told = await accept(node, draft(priority=1))
    assert told.results[0].status == "queued"
    for id_ in (1, 3):
        phone.visit.receipt(phone.mark)
        await node.result(phone.visit, id_)
        await node.settled()
    assert phone.pushed == [1, 3, 2]


# -- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"send_at": moment(31 * 24 * HOUR)}, "send_at"),
        ({"expires_at": moment(-1)}, "expires_at"),
    ],
    ids=["too far ahead", "over"],
)
@pytest_twisted.ensureDeferred
async def test_a_time_that_cannot_be_is_refused_and_nothing_stored(
    node, org, database, asked, where
):
    with pytest.raises(Invalid) as refused:
        await accept(node, draft(), draft(**asked))
    assert [fault.loc for fault in refused.value.errors] == [["messages", 1, where]]
    with pytest.raises(Invalid):
        await node.outbox.forecast(Caller(ORG), [draft(**asked)], lone=True)
    assert await tickets(database) == {}


@pytest_twisted.ensureDeferred
async def test_a_dry_run_tells_until_when_it_would_wait(node, org, database):
    await node.come(None, SIM)
    told = await node.outbox.forecast(Caller(ORG), [draft(send_at=moment(HOUR)), draft()])
    later, now = told.outlooks
    assert later.taken_by is None
    assert later.waiting_for.sim_slot == 0
    assert datetime.fromisoformat(later.not_before) > moment(HOUR - 60)
    assert (now.not_before, now.taken_by.sim_slot) == (None, 0)
