"""A claim in turn looks at what could go, however much waits and however much went before."""

import json

import pytest_twisted
from seed import SESSION, ask, claimed
from test_plans import CLAIM, most_read, nodes, plan, scans

SIM = {"org_id": "acme", "sim_keys": ["1555"]}
FILL = """
    INSERT INTO messages (
        org_id, id, status, direction, address, address_key, body, sim_key, ref, key_id)
    SELECT o.org_id, n, 'queued', 'out', '', '', 'hi', CASE n % 2 WHEN 0 THEN '1555' ELSE '*' END,
        'r', CASE WHEN n = 9999 THEN 'quiet' WHEN n > 40 THEN 'loud-' || n % 4 END
    FROM (VALUES ('acme'), ('beta')) AS o (org_id), generate_series(1, 10000) AS n;
    INSERT INTO sim_uses (org_id, sim_key, at, message_id, segments)
    SELECT o.org_id, 's' || n % 500, now() - n * interval '1 s', n, 1
    FROM (VALUES ('acme'), ('beta')) AS o (org_id), generate_series(1, 10000) AS n;
    ANALYZE
"""


async def filled(database):
    await claimed(database, "acme", "beta")
    await ask(database, FILL)


@pytest_twisted.ensureDeferred
async def test_turns_are_found_key_by_key(database):
    await filled(database)
    queues = {**SIM, "sim_keys": ["1555", "*"]}
    found = await plan(database, "read_turns", "ANALYZE, COSTS", **queues, most=5)
    assert {index for _, index in scans(found)} <= {"messages_queued", "messages_queued_by_key"}
    assert most_read(found) <= 40
    # Of each queue: two lanes of two and of three keys, and what was sent with the secret.
    assert found["Actual Rows"] == 2 * 5 + 2 * 5 + 1 + 2 * 5


@pytest_twisted.ensureDeferred
async def test_what_a_sim_was_given_is_found_by_its_key(database):
    await filled(database)
    found = await plan(database, "read_uses", "ANALYZE, COSTS", **{**SIM, "sim_keys": ["s7", "s8"]})
    assert found["Actual Rows"] == 40
    for node in nodes(found):
        if node.get("Relation Name") == "sim_uses":
            assert "Seq" not in node["Node Type"]


@pytest_twisted.ensureDeferred
async def test_a_claim_in_turn_and_what_is_given_back_are_found_by_key(database):
    await filled(database)
    chosen = [{"ord": n, "id": 2 * n, "segments": 1, "sims": ["1555"]} for n in range(1, 11)]
    same = {name: CLAIM[name] for name in ("serves", "session_id", "phone_id", "ledger")}
    found = await plan(
        database,
        "claim_in_turn",
        "ANALYZE, COSTS",
        **{**SIM, **same, "batch_id": SESSION, "seconds": 60.0},
        chosen=json.dumps(chosen),
    )
    assert found["Actual Rows"] == 10
    assert most_read(found) <= 10
    for table in ("messages", "sim_uses"):
        assert all("Seq" not in kind for kind, _ in scans(found, table)), table
    rows = json.dumps([{"org_id": "acme", "id": 2, "session_id": SESSION}] * 50)
    found = await plan(database, "end_pushes", "ANALYZE, COSTS", rows=rows)
    assert ("Index Scan", "sim_uses_message") in scans(found, "sim_uses") or (
        "Bitmap Index Scan",
        "sim_uses_message",
    ) in scans(found, "sim_uses")
