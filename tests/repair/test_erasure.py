"""What is deleted for good, while others write: never too much, never too long, never half."""

from __future__ import annotations

import pytest
import pytest_twisted
from databases import opened
from twisted.internet.defer import Deferred

from smsd.domain.records import Inbound
from smsd.store import erasure, messages, overview, remedies
from smsd.store.remedies import CLOSED, Secret
from smsd.store.statements import Statement

SECRET = Secret("hash", b"s" * 32, "pepper")
SHUT = Secret("hash", b"nobody's", CLOSED)
FILL = """
    INSERT INTO messages (
        org_id, id, status, direction, address, address_key, body, created_at
    )
    SELECT %(org)s, n, 'received', 'in', 'a', CASE WHEN n %% 2 = 0 THEN 'even' ELSE 'odd' END, '',
        now() - interval '1 day' * (3000 - n) / 100
    FROM generate_series(1, 3000) AS n
"""


async def ask(where, text, **values):
    return await where.run(Statement("test", text), **values)


async def count(database, org_id="acme"):
    ((number,),) = await ask(
        database, "SELECT count(*) FROM messages WHERE org_id = %(org)s", org=org_id
    )
    return number


@pytest_twisted.async_fixture
async def filled(database):
    """Two orgs with 3000 messages each, of which the oldest is 30 days old."""
    for org_id in ("acme", "beta"):
        await remedies.create(database, org_id, SECRET)
        await ask(database, FILL, org=org_id)
    await ask(database, "UPDATE org_counters SET last_id = 3000")
    return database


def arrived(org_id="acme"):
    row = messages.arrived(org_id, Inbound(address="+1555", body="late"))
    row.ord = 0
    return row


# -- a person --------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_person_is_forgotten_in_batches_and_in_one_org_alone(filled):
    steps = []
    assert await erasure.forget(filled, "acme", "even", told=steps.append) == 1500
    assert steps == [1000, 500]
    assert [await count(filled, org_id) for org_id in ("acme", "beta")] == [1500, 3000]
    assert await erasure.forget(filled, "acme", "even") == 0


# -- what is old -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_is_older_than_so_many_days_goes_in_every_org_and_nothing_younger(filled):
    steps = []
    assert await erasure.prune(filled, 10, told=steps.append) == 2 * 2000
    assert steps == [1000, 1000, 0] * 2  # the first page with a young one is the last
    rows = await ask(filled, "SELECT org_id, min(id) FROM messages GROUP BY 1 ORDER BY 1")
    assert [(org_id, oldest in (2000, 2001)) for org_id, oldest in rows] == [
        ("acme", True),
        ("beta", True),
    ]
    assert await erasure.prune(filled, 10) == 0


@pytest_twisted.ensureDeferred
async def test_tickets_that_have_not_ended_stay_however_old_and_hide_nothing_behind_them(filled):
    await ask(
        filled,
        "UPDATE messages SET direction = 'out', status = 'queued', sim_key = '*', ref = 'r'"
        " WHERE id <= 1500",
    )
    assert await erasure.prune(filled, 10) == 2 * 500
    assert await count(filled) == 2500


@pytest_twisted.ensureDeferred
async def test_a_row_that_somebody_holds_is_left_for_the_next_time(filled, conninfo):
    other = await opened(conninfo)

    async def hold(tx):
        await ask(tx, "SELECT 1 FROM messages WHERE org_id = 'acme' AND id = 7 FOR UPDATE")
        return await erasure.prune(filled, 10)

    assert await other.transaction("hold", hold) == 2 * 2000 - 1
    await other.close()
    assert await erasure.prune(filled, 10) == 1


# -- an org ----------------------------------------------------------------------------------


async def shut(database):
    await remedies.replace_secret(database, "acme", SHUT)


@pytest_twisted.ensureDeferred
async def test_an_org_that_is_open_is_neither_emptied_nor_deleted(filled):
    assert await erasure.erase(filled, "acme") == 0
    assert await erasure.delete_org(filled, "acme") is None
    assert await count(filled) == 3000


@pytest_twisted.ensureDeferred
async def test_an_org_with_messages_is_not_deleted_and_one_without_leaves_its_counter(filled):
    await shut(filled)
    assert await erasure.delete_org(filled, "acme") is None
    assert await erasure.erase(filled, "acme") == 3000
    assert await erasure.delete_org(filled, "acme") is not None
    assert await overview.org(filled, "acme") is None
    counters = await ask(filled, "SELECT last_id FROM org_counters ORDER BY org_id")
    assert counters == [(3000,), (3000,)]
    assert await count(filled, "beta") == 3000


@pytest_twisted.ensureDeferred
async def test_a_writer_that_was_quicker_is_waited_for_and_seen(filled, conninfo):
    """It holds the counter; to delete the org beside it would leave its message behind."""
    await shut(filled)
    await erasure.erase(filled, "acme")
    other = await opened(conninfo)

    async def write(tx):
        await messages.append(tx, [arrived()])
        deleting = Deferred.fromCoroutine(erasure.delete_org(filled, "acme"))
        await waiting(other)
        assert not deleting.called
        return [deleting]

    (deleting,) = await other.transaction("write", write)
    assert await deleting is None
    await other.close()
    assert await overview.org(filled, "acme") is not None
    assert await count(filled) == 1


@pytest_twisted.ensureDeferred
async def test_what_a_writer_stores_that_had_looked_before_the_end_is_swept(filled, conninfo):
    """It waits for the counter behind the deletion, and still sees the org when it gets it."""
    await shut(filled)
    await erasure.erase(filled, "acme")
    first, late = await opened(conninfo), await opened(conninfo)

    async def hold(tx):
        await ask(tx, "SELECT 1 FROM org_counters WHERE org_id = 'acme' FOR UPDATE")
        deleting = Deferred.fromCoroutine(erasure.delete_org(filled, "acme"))
        await waiting(first)
        writing = Deferred.fromCoroutine(messages.append(late, [arrived()]))
        await waiting(first, 2)
        return [deleting, writing]

    deleting, writing = await first.transaction("hold", hold)
    moment = await deleting
    assert moment is not None
    assert await writing == {0: 3001}
    assert await count(filled) == 1
    assert not await erasure.writers_since(filled, moment)

    assert await erasure.erase_strays(filled, "acme") == 1
    assert await count(filled) == 0
    for pool in (first, late):
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_a_statement_that_began_before_is_waited_for(filled, conninfo):
    other = await opened(conninfo)

    async def long(tx):
        await ask(tx, "SELECT 1")
        ((now,),) = await ask(filled, "SELECT clock_timestamp()")
        return await erasure.writers_since(filled, now), now

    older, now = await other.transaction("long", long)
    assert older
    assert not await erasure.writers_since(filled, now)
    await other.close()


@pytest.mark.parametrize("claimed", [False, True])
@pytest_twisted.ensureDeferred
async def test_strays_of_a_name_that_was_claimed_again_are_left_alone(filled, claimed):
    await shut(filled)
    await erasure.erase(filled, "acme")
    await erasure.delete_org(filled, "acme")
    if claimed:
        await remedies.create(filled, "acme", SECRET)
        await messages.append(filled, [arrived()])
    assert await erasure.erase_strays(filled, "acme") == 0
    assert await count(filled) == int(claimed)


async def waiting(database, most=1):
    """Until so many statements wait for a lock."""
    number = 0
    while number < most:
        ((number,),) = await ask(
            database,
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
