"""No statement reads a table from end to end that grows with what is stored or who is on line.

All of them, with 200,000 messages in 20,000 orgs, half of them in one, as the planner knows
them after ANALYZE. What each statement reads of its index is `test_plans`'.
"""

import re

import pytest_twisted
from seed import OTHER_SESSION, ask
from test_plans import nodes, plan
from test_statements import TRIED

ORGS = """
    INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
    SELECT 'org-' || n, '', ''::bytea, '' FROM generate_series(1, 19999) AS n
    UNION ALL SELECT 'acme', '', '', '';
    INSERT INTO org_counters (org_id, last_id) SELECT org_id, 100000 FROM orgs;
    INSERT INTO org_locks (org_id) SELECT org_id FROM orgs;
    INSERT INTO known_addresses (org_id, address, secret_hmac, right_at)
    SELECT org_id, 'a' || n, '', now() FROM orgs, generate_series(1, 2) AS n;
    INSERT INTO auth_failures (org_id, address)
    SELECT org_id, 'a1' FROM orgs;
    INSERT INTO org_limits (org_id, queue_ttl)
    SELECT org_id, CASE WHEN org_id ~ '7$' THEN 60 END FROM orgs
"""
#: One in four is a ticket; of these a few wait and a few are under way, as ever.
MESSAGES = """
    INSERT INTO messages (
        org_id, id, status, direction, address, address_key, body, sim_slot, sim_number,
        sim_digits, dedupe, sim_key, ref, attempts, session_id, phone_id, handed_at, sent_at
    )
    SELECT org_id, n, CASE WHEN out THEN told ELSE 'received' END,
        CASE WHEN out THEN 'out' ELSE 'in' END, 'a' || n %% 97, 'a' || n %% 97, 'text', n %% 2,
        (n %% 3)::text, (n %% 3)::text, CASE WHEN NOT out THEN sha256(n::text::bytea) END,
        CASE WHEN out THEN (n %% 3)::text END, CASE WHEN out THEN md5(n::text) END, out::integer,
        CASE WHEN out THEN %(session)s::uuid END, CASE WHEN out THEN '?' END,
        CASE WHEN out THEN now() END, CASE WHEN out AND told = 'sent' THEN now() END
    FROM orgs
    CROSS JOIN LATERAL (
        SELECT n, n %% 4 = 0 AS out,
            CASE n %% 100 WHEN 0 THEN 'queued' WHEN 4 THEN 'sending' ELSE 'sent' END AS told
        FROM generate_series(1, CASE org_id WHEN 'acme' THEN 100000 ELSE 5 END) AS n
    ) AS rows
"""
PHONES = """
    INSERT INTO sims (org_id, sim_key, slot, number, last_seen)
    SELECT org_id, n::text, n % 2, n::text, now() FROM orgs, generate_series(1, 5) AS n;
    INSERT INTO nodes (node_id, seen_at)
    SELECT 'node-' || n, now() FROM generate_series(1, 50) AS n;
    INSERT INTO sessions (org_id, session_id, phone_id, node_id)
    SELECT org_id, gen_random_uuid(), '?', 'node-1' FROM orgs
"""
GROW = {"messages", "sims", "sessions"}
GROW |= {"orgs", "org_counters", "org_locks", "org_limits", "known_addresses", "auth_failures"}
#: What is read whole, and why it may be.
WHOLE = {
    # Upkeep that goes through all of a table, which itself keeps that table small.
    "prune_addresses_everywhere": {"known_addresses"},
    "prune_failures_everywhere": {"auth_failures"},
    # Only once a node has died: as long as none has, Postgres does not begin to read.
    "sweep_nodes_everywhere": {"sessions"},
    # An operator asks for all who are on line.
    "read_phones_everywhere": {"sessions"},
    "open_tickets_everywhere": {"sessions"},
    # A restore asks whether there is any row, and writes all of them while nobody else is there.
    "use_everywhere": {"messages", "orgs", "org_counters"},
    "move_counters_everywhere": {"org_counters"},
    "forget_nodes_everywhere": {"sessions"},
    # One message of the org is enough, and this org has half of all.
    "delete_org": {"messages"},
}


async def filled(tx):
    await ask(tx, "SET LOCAL statement_timeout = '5min'")
    await ask(tx, ORGS)
    await ask(tx, PHONES)
    await ask(tx, MESSAGES, session=OTHER_SESSION)
    await ask(tx, "ANALYZE")


def read_whole(found):
    """The tables that a plan reads from end to end; a partition counts as its table."""
    whole = [node["Relation Name"] for node in nodes(found) if "Seq Scan" in node["Node Type"]]
    return {re.sub(r"_\d+$", "", name) for name in whole} & GROW


@pytest_twisted.ensureDeferred
async def test_no_statement_reads_a_table_that_grows_from_end_to_end(database):
    await database.transaction("fill", filled, deadline=300)
    assert await ask(database, "SELECT count(*) FROM messages") == [(199_995,)]
    reading = {}
    for name, parameters in TRIED.items():
        found = await plan(database, name, **parameters)
        reading[name] = read_whole(found) - WHOLE.get(name, set())
    assert {name: tables for name, tables in reading.items() if tables} == {}


def test_what_may_read_a_whole_table_is_still_asked():
    assert WHOLE.keys() <= TRIED.keys()
