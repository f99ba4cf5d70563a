"""A ticket waits for so long only, unless a phone may have it."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from smsd.domain.allowance import Allowance, Own
from smsd.domain.records import Sim
from smsd.store import limits

TTL = 60


@pytest.fixture
def node(database, clock, hashing) -> Node:
    return Node(database, clock, hashing=hashing, allowance=Allowance(queue_ttl=TTL))


async def older(database, ids=None, seconds=TTL + 1):
    """These tickets, or all, were made so much earlier."""
    await sql(
        database,
        "UPDATE messages SET created_at = created_at - make_interval(secs => %(seconds)s)"
        " WHERE %(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s::bigint[])",
        seconds=seconds,
        ids=ids,
    )


@pytest_twisted.ensureDeferred
async def test_what_waited_too_long_has_failed_and_says_why(node, database):
    await made_org(database)
    await node.send(None, 1, "+1777")
    await older(database, [1, 3])
    await node.upkeep.expire()
    assert await tickets(database) == {1: "failed", 2: "queued", 3: "failed"}
    said = "It waited for more than 60 seconds (queue_ttl) and was never given to a phone."
    assert await sql(
        database, "SELECT DISTINCT error, error_detail FROM messages WHERE status = 'failed'"
    ) == [("expired", said)]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_a_phone_was_given_does_not_expire(node, database):
    await made_org(database)
    await node.send(None, 1, 1)
    phone = await node.come()
    assert phone.pushed == [1]
    await sql(database, "UPDATE messages SET attempts = 1 WHERE id = 2")  # waits to be resent
    await older(database)
    await node.upkeep.expire()
    assert await tickets(database) == {1: "sending", 2: "queued", 3: "failed"}


@pytest_twisted.ensureDeferred
async def test_one_that_never_left_the_gateway_expires_like_any_other(node, database):
    await made_org(database)
    phone = await node.come()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        assert await tickets(database) == {1: "sending"}
        node.attendance.end(phone.visit, "a test")
    await soon(sending)
    await node.settled()
    await older(database)
    await node.upkeep.expire()
    assert await tickets(database) == {1: "failed"}


@pytest_twisted.ensureDeferred
async def test_young_ones_behind_an_old_one_and_old_ones_in_other_queues_are_told_apart(
    node, database
):
    await made_org(database)
    sims = [f"+1555000{at % 7}" for at in range(40)]
    await node.send(*sims)
    old = [id_ for id_ in range(1, 41) if id_ <= 20]
    await older(database, old)
    await node.upkeep.expire()
    found = await tickets(database)
    assert [id_ for id_, status in found.items() if status == "failed"] == old


@pytest_twisted.ensureDeferred
async def test_more_than_one_batch_goes_in_one_round(node, database, monkeypatch):
    monkeypatch.setattr(limits, "TICKETS", 10)
    await made_org(database)
    await node.send(*[None] * 25)
    await older(database)
    told = []
    globalLogPublisher.addObserver(told.append)
    try:
        await node.upkeep.expire()
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert set((await tickets(database)).values()) == {"failed"}
    lines = [formatEvent(event) for event in told if "expired" in formatEvent(event)]
    assert lines == [f"ticket myorg/{id_} failed: expired" for id_ in range(1, 26)]


@pytest.mark.parametrize(
    ("default", "own", "expires"),
    [(0, None, False), (0, TTL, True), (TTL, 0, False), (TTL, 600, False), (600, TTL, True)],
)
@pytest_twisted.ensureDeferred
async def test_an_orgs_own_time_beats_the_setting(database, clock, hashing, default, own, expires):
    node = Node(database, clock, hashing=hashing, allowance=Allowance(queue_ttl=default))
    await made_org(database)
    await made_org(database, "another")
    if own is not None:
        await limits.change(database, ORG, lambda _: Own(queue_ttl=own))
    await node.send()
    await older(database)
    await node.upkeep.expire()
    assert await tickets(database) == {1: "failed" if expires else "queued"}


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_somebody_holds_is_left_for_the_next_time(node, database):
    await made_org(database)
    await node.send(None, None)
    await older(database)

    async def meanwhile(tx):
        await sql(tx, "SELECT 1 FROM messages WHERE id = 1 FOR UPDATE")
        await node.upkeep.expire()

    await soon(database.transaction("hold", meanwhile))
    assert await tickets(database) == {1: "queued", 2: "failed"}
    await node.upkeep.expire()
    assert await tickets(database) == {1: "failed", 2: "failed"}


@pytest_twisted.ensureDeferred
async def test_a_phone_that_comes_later_gets_what_is_left(node, database):
    await made_org(database)
    await node.send(None, None)
    await older(database, [1])
    await node.upkeep.expire()
    phone = await node.come(None, Sim(slot=0))
    assert phone.pushed == [2]
