"""However many tickets have a time of their own, nobody reads more of them than he needs."""

import pytest
import pytest_twisted
from seed import ask, claimed
from test_plans import CLAIM, most_read, nodes, plan, scans

MANY = 40_000
#: Half for later, half with an end, in one queue of one org and in those of a thousand others.
FILL = """
    INSERT INTO messages (
        org_id, id, status, direction, address, address_key, body, sim_key, ref, rank,
        send_at, not_before, expires_at)
    SELECT CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'org-' || n % 1000 END, n, 'queued', 'out', '', '',
        '', '1555', '', n % 21 - 10, at, CASE WHEN n % 4 < 2 THEN at END,
        CASE WHEN n % 4 >= 2 THEN at END
    FROM (
        SELECT n, now() + interval '1 hour' + make_interval(secs => n) AS at
        FROM generate_series(1, {}) AS n
    ) AS numbered
"""


async def filled(database, analyse=True):
    async def fill(tx):
        await ask(tx, "SET LOCAL statement_timeout = '5min'")
        await ask(tx, FILL.format(MANY))
        if analyse:
            await ask(tx, "ANALYZE messages")

    await claimed(database, "acme")
    await database.transaction("fill", fill, deadline=300)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest_twisted.ensureDeferred
async def test_the_wheel_looks_at_what_is_due_and_one_more_of_each_org(database, known):
    await filled(database, known)
    due = "UPDATE messages SET expires_at = now() WHERE org_id = 'acme' AND id IN (2, 6, 10)"
    await ask(database, due)
    found = await plan(database, "pass_times_everywhere", "ANALYZE, COSTS", most=1000)
    assert {index for _, index in scans(found)} <= {"messages_timed", "messages_pkey"}
    assert most_read(found) <= 501 + 3
    ended = await ask(database, "SELECT id FROM messages WHERE status = 'expired' ORDER BY id")
    assert ended == [(2,), (6,), (10,)]


@pytest_twisted.ensureDeferred
async def test_a_claim_passes_over_tickets_for_later_and_takes_the_highest_priority(database):
    await filled(database)
    found = await plan(database, "claim_tickets", "ANALYZE, COSTS", **CLAIM)
    assert most_read(found) <= CLAIM["places"]
    ranks = "SELECT min(rank), max(rank) FROM messages WHERE status = 'sending'"
    assert await ask(database, ranks) == [(-10, -10)]
    later = "SELECT count(*) FROM messages WHERE status = 'sending' AND not_before IS NOT NULL"
    assert await ask(database, later) == [(0,)]


@pytest_twisted.ensureDeferred
async def test_an_org_with_nothing_but_tickets_for_later_waits_for_nothing(database):
    await filled(database)
    await ask(database, "UPDATE messages SET not_before = expires_at WHERE not_before IS NULL")
    found = await plan(database, "waiting_orgs", "ANALYZE, COSTS", org_ids=["acme"])
    assert most_read(found) == 0
    assert all(node["Node Type"] != "Seq Scan" for node in nodes(found))


@pytest_twisted.ensureDeferred
async def test_an_orgs_queues_are_walked_by_priority_without_reading_them(database):
    await filled(database)
    rows = '[{"org_id": "acme", "ttl": 60}]'
    found = await plan(
        database, "expire_tickets", "ANALYZE, COSTS", rows=rows, most=10, detail="%s"
    )
    assert {index for _, index in scans(found)} <= {"messages_queued", "messages_pkey"}
    assert await ask(database, "SELECT count(*) FROM messages WHERE status = 'failed'") == [(0,)]
