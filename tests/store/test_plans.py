"""What is asked all the time is answered from an index, however much else is stored."""

import json
import re
from hashlib import sha256
from itertools import product

import pytest_twisted
from seed import OTHER_SESSION, SESSION, ask, claimed

from smsd.store.statements import Statement, named

FILL = """
    INSERT INTO messages (
        org_id, id, status, direction, address, address_key, body,
        sim_slot, sim_number, sim_digits, sim_key, ref
    )
    SELECT o.org_id, n, CASE WHEN out THEN 'queued' ELSE 'received' END,
        CASE WHEN out THEN 'out' ELSE 'in' END, 'a' || n % 97, 'a' || n % 97, 'text',
        n % 2, (n % 3)::text, (n % 3)::text,
        CASE WHEN out THEN (n % 3)::text END, CASE WHEN out THEN md5(n::text) END
    FROM (VALUES ('acme'), ('beta')) AS o (org_id)
    CROSS JOIN LATERAL (SELECT n, n % 4 = 0 AS out FROM generate_series(1, 10000) AS n) AS rows
"""
END = """
    UPDATE messages SET status = 'failed', error = 'x' WHERE direction = 'out' AND id % 8 = 0
"""


async def filled(database):
    """20,000 rows of two orgs of both directions, as the planner knows them."""
    await claimed(database, "acme", "beta")
    await ask(database, FILL)
    await ask(database, END)
    await ask(database, "ANALYZE")


async def plan(database, statement, /, options="COSTS", **parameters):
    """How the statement is done: with these parameters or, if it is prepared, with any."""
    explain = f"EXPLAIN ({options}, FORMAT JSON)"
    statement = named(statement)
    if statement.prepared:
        return await prepared(database, statement, explain, parameters)
    explained = Statement(statement.name, f"{explain} {statement.sql}")
    rows = await database.run(explained, **parameters)
    return planned(rows)


async def prepared(database, statement, explain, parameters):
    async def generic(tx):
        await ask(tx, "SET LOCAL plan_cache_mode = force_generic_plan")
        await ask(tx, statement.preparation)
        found = await ask(tx, f"{explain} {statement.execution}", **parameters)
        await ask(tx, f"DEALLOCATE {statement.name}")
        return found

    return planned(await database.transaction("explain", generic))


def planned(rows):
    ((found,),) = rows
    return (found if isinstance(found, list) else json.loads(found))[0]["Plan"]


def nodes(node):
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def scans(found, table="messages"):
    """How the table is scanned, and by which index."""
    return [
        (node["Node Type"], node.get("Index Name"))
        for node in nodes(found)
        if node.get("Relation Name") == table and "Scan" in node["Node Type"]
    ]


CHOICES = {
    "since_id": [0, 5000],
    "before_id": [None, 9000],
    "direction": [None, "in"],
    "status": [None, "failed"],
    "address_key": [None, "a7"],
    "sim_digits": [None, "1"],
    "sim_slot": [None, 1],
    "newest_first": [False, True],
}


@pytest_twisted.ensureDeferred
async def test_no_question_about_messages_reads_the_whole_table(database):
    await filled(database)
    for chosen in product(*CHOICES.values()):
        asked = dict(zip(CHOICES, chosen, strict=True))
        found = await plan(database, "read_messages", org_id="acme", limit=100, **asked)
        assert scans(found), asked
        assert all("Seq" not in kind for kind, _ in scans(found)), asked


@pytest_twisted.ensureDeferred
async def test_a_page_comes_from_its_index_in_order_and_is_not_sorted(database):
    await filled(database)
    nothing = {key: None for key, (first, _) in CHOICES.items() if first is None}
    for newest_first, (key, value) in product(
        (False, True), [("direction", "in"), ("sim_slot", None), ("address_key", "a7")]
    ):
        asked = {**nothing, "since_id": 0, "newest_first": newest_first, key: value}
        found = await plan(
            database, "read_messages", "ANALYZE, COSTS", org_id="acme", limit=10, **asked
        )
        (scan,) = [n for n in nodes(found) if n.get("Relation Name") == "messages"]
        assert scan["Actual Rows"] <= 10, (key, scan)
        assert scan.get("Rows Removed by Filter", 0) <= 10 * 4, (key, scan)


async def crowd(database, waiting):
    """So many tickets that wait for a SIM that is away, and five that wait for one that is not."""
    await claimed(database, "acme")
    row = """INSERT INTO messages
             (org_id, id, status, direction, address, address_key, body, sim_key, ref)
             SELECT 'acme', n, 'queued', 'out', '', '', '', '{}', ''
             FROM generate_series({}, {}) AS n"""
    await ask(database, row.format("away", 1, waiting))
    await ask(database, row.format("1555", waiting + 1, waiting + 5))


CLAIM = {
    "org_id": "acme",
    "serves": '[{"sim_key": "1555"}, {"sim_key": "*"}, {"sim_key": "slot:0"}, {"sim_key": "1"}]',
    "session_id": SESSION,
    "phone_id": "?",
    "ledger": False,
    "places": 64,
    "batch_id": OTHER_SESSION,
}


async def claiming(database):
    return await plan(database, "claim_tickets", "ANALYZE, COSTS", **CLAIM)


def most_read(found):
    """How many messages the most laborious step of a plan has looked at."""
    return max(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(found)
        if node.get("Relation Name") == "messages" and node["Node Type"] != "ModifyTable"
    )


@pytest_twisted.ensureDeferred
async def test_tickets_that_wait_for_another_sim_do_not_slow_a_claim(database):
    await crowd(database, 5000)
    await ask(database, "ANALYZE")
    found = await claiming(database)
    assert ("Index Only Scan", "messages_queued") in scans(found) or (
        "Index Scan",
        "messages_queued",
    ) in scans(found)
    assert most_read(found) <= 64
    left = "SELECT count(*) FROM messages WHERE sim_key = '1555' AND status = 'queued'"
    assert await ask(database, left) == [(0,)]


@pytest_twisted.ensureDeferred
async def test_a_claim_is_as_quick_before_the_planner_knows_the_table(database):
    await crowd(database, 5000)
    assert most_read(await claiming(database)) <= 64


@pytest_twisted.ensureDeferred
async def test_results_and_ends_of_sessions_find_their_rows_by_key(database):
    await filled(database)
    rows = json.dumps([{"ord": 0, "org_id": "acme", "id": 4, "status": "sent"}] * 50)
    for name in ("settle_results", "end_pushes"):
        found = await plan(database, name, rows=rows)
        assert {index for _, index in scans(found)} <= {"messages_pkey", "messages_sending"}, name


async def planned_on_an_empty_table(database, name, fill, **parameters):
    """How the statement is done where its plan was made as the first that was done at all, and
    the table has grown since. Nobody else has looked at it, so it is not made anew."""
    statement = named(name)

    async def grown(tx):
        await ask(tx, "SET LOCAL plan_cache_mode = force_generic_plan")
        await ask(tx, statement.preparation)
        await ask(tx, f"EXPLAIN {statement.execution}", **parameters)
        await ask(tx, fill)
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.execution}"
        found = await ask(tx, explain, **parameters)
        await ask(tx, f"DEALLOCATE {name}")
        return found

    await ask(database, "TRUNCATE messages")
    return planned(await database.transaction("explain", grown))


@pytest_twisted.ensureDeferred
async def test_a_result_is_written_as_quickly_when_the_table_has_grown(database):
    await claimed(database, "acme", "beta")
    told = [{"ord": at, "org_id": "acme", "id": 4 * at, "status": "sent"} for at in range(1, 33)]
    fill = FILL + "; UPDATE messages SET attempts = 1 WHERE direction = 'out'"
    found = await planned_on_an_empty_table(database, "settle_results", fill, rows=json.dumps(told))
    assert most_read(found) <= 32
    assert await ask(database, "SELECT count(*) FROM messages WHERE status = 'sent'") == [(32,)]


@pytest_twisted.ensureDeferred
async def test_a_claim_is_as_quick_when_the_table_has_grown(database):
    await claimed(database, "acme", "beta")
    found = await planned_on_an_empty_table(database, "claim_tickets", FILL, **CLAIM)
    assert most_read(found) <= 64
    given = "SELECT count(*) FROM messages WHERE status = 'sending'"
    assert await ask(database, given) == [(64,)]


@pytest_twisted.ensureDeferred
async def test_an_append_finds_its_counters_by_key_among_many_orgs(database):
    await ask(
        database,
        """INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
           SELECT 'org-' || n, '', '', '' FROM generate_series(1, 20000) AS n;
           INSERT INTO org_counters (org_id) SELECT org_id FROM orgs; ANALYZE""",
    )
    row = {"ord": 0, "org_id": "org-7", "status": "received", "direction": "in"}
    row |= {"address": "", "address_key": "", "body": ""}
    given = {"rows": json.dumps([row]), "batch_id": SESSION}
    found = await plan(database, "append_messages", "ANALYZE, COSTS", **given)
    for node in nodes(found):
        if re.match("orgs|org_counters", node.get("Relation Name", "")):
            assert node["Actual Rows"] * node["Actual Loops"] <= 2, node


@pytest_twisted.ensureDeferred
async def test_keys_are_found_by_key_among_many_orgs(database):
    await ask(
        database,
        """INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
           SELECT 'org-' || n, '', '', '' FROM generate_series(1, 20000) AS n;
           INSERT INTO api_keys (org_id, key_id, hash, name, scopes, segments_a_day)
           SELECT org_id, key_id, sha256((org_id || key_id)::bytea), '', '{send}', 9
           FROM orgs, unnest(ARRAY['a', 'b']) AS key_id;
           INSERT INTO api_key_spending
           SELECT org_id, key_id, now(), 1 FROM api_keys; ANALYZE""",
    )
    hashed = [sha256(f"org-{at}b".encode()).hexdigest() for at in range(1, 201)]
    rows = [{"ord": at, "org_id": f"org-{at}", "hash": text} for at, text in enumerate(hashed, 1)]
    key = {"org_id": "org-7", "key_id": "a"}
    held = [f"org-{at}" for at in range(1, 201)]
    found = {
        "recall_keys": await plan(database, "recall_keys", "ANALYZE", rows=json.dumps(rows)),
        "ended_keys": await plan(
            database, "ended_keys", "ANALYZE", org_ids=held, key_ids=["a"] * 200
        ),
    }
    assert found["recall_keys"]["Actual Rows"] == 200
    for name, more in {
        "read_keys": {},
        "read_budget": {},
        "use_key": {},
        "delete_key": {},
        "spend_segments": {"segments": 1, "segments_a_day": 9},
        "give_segments_back": {"segments": 1},
    }.items():
        found[name] = await plan(database, name, **key, **more)
    for name, tree in found.items():
        for table in ("orgs", "api_keys", "api_key_spending"):
            assert all(kind != "Seq Scan" for kind, _ in scans(tree, table)), (name, table)


@pytest_twisted.ensureDeferred
async def test_a_plan_made_once_for_all_recalls_finds_orgs_and_addresses_by_key(database):
    await ask(
        database,
        """INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
           SELECT 'org-' || n, '', '', '' FROM generate_series(1, 20000) AS n;
           INSERT INTO known_addresses (org_id, address, secret_hmac, right_at)
           SELECT org_id, address, '', now() FROM orgs, unnest(ARRAY['a', 'b']) AS address;
           INSERT INTO org_locks (org_id) SELECT org_id FROM orgs;
           INSERT INTO org_limits (org_id) SELECT org_id FROM orgs; ANALYZE""",
    )
    rows = json.dumps([{"ord": at, "org_id": f"org-{at}", "address": "b"} for at in range(1, 201)])
    found = await plan(database, "recall_address", "ANALYZE", rows=rows)
    assert found["Actual Rows"] == 200
    for node in nodes(found):
        assert node["Node Type"] != "Seq Scan", node


@pytest_twisted.ensureDeferred
async def test_the_census_finds_what_waits_by_its_queues(database):
    await filled(database)
    queues = {"org_ids": ["acme", "beta"], "sim_keys": ["*", "*"]}
    found = await plan(database, "census_everywhere", most=100_000, **queues)
    assert ("Seq Scan", None) not in scans(found)
    assert ("Index Only Scan", "messages_queued") in scans(found)


@pytest_twisted.ensureDeferred
async def test_a_key_and_its_tickets_are_found_by_theirs(database):
    await filled(database)
    await ask(
        database,
        """INSERT INTO call_keys
           SELECT o.org_id, 'key-' || n, '', n, 10
           FROM orgs AS o, generate_series(1, 10000) AS n; ANALYZE""",
    )
    found = await plan(database, "find_call", "ANALYZE, COSTS", org_id="acme", key="key-9")
    for table in ("messages", "call_keys"):
        assert scans(found, table), table
        assert all("Seq" not in kind for kind, _ in scans(found, table)), table
    assert most_read(found) <= 10
    found = await plan(database, "prune_calls_everywhere", days=7)
    assert ("Index Scan", "call_keys_at") in scans(found, "call_keys")
