"""Readers of events, and those who write them, look at what they need however much there is."""

import pytest
import pytest_twisted
from seed import SESSION, ask
from test_plans import nodes, plan
from test_statements import TRIED

FILL = """
    INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
    SELECT 'org-' || n, '', '', '' FROM generate_series(1, 5000) AS n;
    INSERT INTO org_counters (org_id, last_id, last_event, listens_until)
    SELECT org_id, 5000, 10000, CASE WHEN org_id LIKE '%1' THEN now() + interval '1 day' END
    FROM orgs;
    INSERT INTO events (org_id, id, type, message_id, direction, address_key, data)
    SELECT o.org_id, n, 'message.received', n, 'in', 'a' || n % 997, '{}'
    FROM (VALUES ('org-1'), ('org-11')) AS o (org_id), generate_series(1, 10000) AS n;
    INSERT INTO messages (
        org_id, id, status, direction, address, address_key, body, sim_key, ref, attempts,
        session_id, handed_at)
    SELECT o.org_id, n, CASE WHEN n % 100 = 0 THEN 'sending' ELSE 'queued' END, 'out', '', '', '',
        'slot:1', 'r', 1, '00000000-0000-4000-8000-000000000001', now() - interval '1 minute'
    FROM (VALUES ('org-1'), ('org-2')) AS o (org_id), generate_series(1, 5000) AS n;
    INSERT INTO sessions (org_id, session_id, phone_id, node_id)
    SELECT org_id, gen_random_uuid(), '?', 'node-' || length(secret_hash) FROM orgs;
    INSERT INTO nodes (node_id, seen_at) SELECT 'node-' || n, now() FROM generate_series(0, 9) AS n;
    ANALYZE
"""
ORG = {"org_id": "org-1"}
ROW = {"org_id": "org-1", "session_id": SESSION, "phone_id": "?"}
BOTH = ("events", "org_counters")
ALL = (*BOTH, "messages", "sessions")
NOTHING = dict.fromkeys(("types", "direction", "address_key", "sim_digits", "sim_slot"))
#: What is asked of which tables in whole statements; parameters not named here are those tried.
ASKED = {
    "listen": (ORG, BOTH),
    "listen_on": ({"org_ids": [f"org-{n}" for n in range(1, 200)]}, BOTH),
    "read_bounds": ({"org_ids": [f"org-{n}" for n in range(1, 200)]}, BOTH),
    "read_events": ({**ORG, "limit": 100, **NOTHING}, BOTH),
    "orgs_with_events_everywhere": ({}, BOTH),
    "prune_events": (ORG, BOTH),
    "forget_events": ({**ORG, "address_key": "a7"}, BOTH),
    "erase_events": (ORG, BOTH),
    "append_messages": ({}, ALL),
    "settle_results": ({}, ALL),
    "settle_deliveries": ({}, ALL),
    "claim_tickets": (ORG, ALL),
    "claim_in_turn": (ORG, ALL),
    "end_pushes": ({}, ALL),
    "push_again": (ORG, ALL),
    "fail_unconfirmed_everywhere": ({}, BOTH),
    "requeue_unconfirmed_everywhere": ({}, BOTH),
    "requeue_ticket": (ORG, ALL),
    "fail_ticket": (ORG, ALL),
    "expire_tickets": ({}, ALL),
    "begin_sessions": ({}, ALL),
    "report_sims": ({}, BOTH),
    "end_sessions": ({}, BOTH),
    "leave": ({"node_id": "node-9"}, BOTH),
    "sweep_nodes_everywhere": ({}, BOTH),
}


def parameters(name, more):
    tried = {**TRIED[name], **more}
    if isinstance(tried.get("rows"), str):
        tried["rows"] = tried["rows"].replace('"acme"', '"org-1"')
    return tried


@pytest_twisted.ensureDeferred
async def test_no_statement_reads_more_of_a_table_than_it_needs(database):
    await ask(database, FILL)
    for name, (more, tables) in ASKED.items():
        found = await plan(database, name, **parameters(name, more))
        read = [n for n in nodes(found) if n.get("Relation Name") in tables]
        assert read, name
        whole = [n["Relation Name"] for n in read if n["Node Type"] == "Seq Scan"]
        assert whole == [], name


@pytest.mark.parametrize(
    "wanted", [{}, {"types": ["phone.online"]}, {"address_key": "a7"}], ids=str
)
@pytest_twisted.ensureDeferred
async def test_a_page_of_events_looks_at_so_many_and_no_more(database, wanted):
    await ask(database, FILL)
    asked = {**parameters("read_events", ORG), **NOTHING, "limit": 50, "after": 5000, **wanted}
    found = await plan(database, "read_events", "ANALYZE, COSTS", **asked)
    (scan,) = [n for n in nodes(found) if n.get("Relation Name") == "events"]
    assert scan["Index Name"] == "events_pkey"
    assert scan["Actual Rows"] * scan["Actual Loops"] <= 50
