"""Who has opted out is found by key, however many numbers have."""

import json

import pytest_twisted
from seed import OTHER_SESSION, SESSION, ask
from test_plans import CLAIM, FILL, claimed, plan, scans

OPTED = """
    UPDATE org_counters SET opt_out_scope = 'sim';
    INSERT INTO opt_outs (org_id, address_key, sim_digits, address)
    SELECT o.org_id, 'a' || n, '1', '' FROM orgs AS o, generate_series(1, 10000) AS n;
    INSERT INTO opt_out_answers (org_id, address_key, what, address, message_id, answered)
    SELECT o.org_id, 'a' || n, 'help', '', 1, true
    FROM orgs AS o, generate_series(1, 10000) AS n;
    ANALYZE
"""


MANY = """
    INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
    SELECT 'org-' || n, '', '', '' FROM generate_series(1, 5000) AS n;
    INSERT INTO org_counters (org_id) SELECT org_id FROM orgs;
    INSERT INTO org_limits (org_id) SELECT org_id FROM orgs;
    INSERT INTO opt_out_answers (org_id, address_key, what, address, message_id, answered)
    SELECT org_id, 'a', 'help', '', 1, false FROM orgs;
    UPDATE messages
    SET status = 'sending', attempts = 1, session_id = %(session)s::uuid, handed_at = now()
    WHERE direction = 'out'
"""
ORG = {"org_id": "acme"}


@pytest_twisted.ensureDeferred
async def test_what_is_in_doubt_owed_and_set_is_found_by_key_among_many(database):
    await claimed(database, "acme", "beta")
    await ask(database, FILL)
    await ask(database, OPTED)
    await ask(
        database, MANY.replace("FROM orgs", "FROM orgs WHERE org_id LIKE 'org-%%'"), session=SESSION
    )
    await ask(database, "ANALYZE")
    rows = json.dumps([{"id": 4 * at, "session_id": SESSION} for at in range(1, 6)])
    again = {**ORG, "rows": rows, "session_id": OTHER_SESSION, "phone_id": "?", "ledger": True}
    again |= {"max_attempts": 5, "detail": "", "batch_id": OTHER_SESSION}
    meant = json.dumps([{"ord": 0, "address_key": "a7", "taken": True}])
    found = {
        "push_again": await plan(database, "push_again", **again),
        "would_refuse": await plan(database, "would_refuse", **ORG, rows=meant),
        "take_owed": await plan(database, "take_owed", org_id="org-7"),
        "set_opt_outs": await plan(
            database, "set_opt_outs", org_id="org-7", opt_outs='{"scope": "sim"}'
        ),
        "opt_out": await plan(database, "opt_out", **ORG, address_key="new", address=""),
    }
    tables = ("messages", "opt_outs", "opt_out_answers", "org_counters", "org_limits")
    for name, tree in found.items():
        for table in tables:
            assert all(kind != "Seq Scan" for kind, _ in scans(tree, table)), (name, table)
    looked_at = {name: {t for t in tables if scans(tree, t)} for name, tree in found.items()}
    assert looked_at == {
        "push_again": {"messages", "opt_outs", "org_counters"},
        "would_refuse": {"org_counters"},
        "take_owed": {"opt_out_answers"},
        "set_opt_outs": {"org_counters", "org_limits"},
        "opt_out": set(),
    }


@pytest_twisted.ensureDeferred
async def test_opt_outs_are_found_by_their_key(database):
    await claimed(database, "acme", "beta")
    await ask(database, FILL)
    await ask(database, OPTED)
    org = {"org_id": "acme"}
    page = {"address_key": None, "after_key": "", "after_sim": "", "most": 5}
    found = {
        "claim_tickets": await plan(database, "claim_tickets", **CLAIM),
        "refuse_given": await plan(database, "refuse_given", **org, ids=[4], given=[4]),
        "read_opt_outs": await plan(database, "read_opt_outs", **org, **page),
        "lift_opt_out": await plan(database, "lift_opt_out", **org, address_key="a7"),
        "owing_everywhere": await plan(database, "owing_everywhere", most=5),
    }
    for name, tree in found.items():
        for table in ("opt_outs", "opt_out_answers", "messages"):
            assert all(kind != "Seq Scan" for kind, _ in scans(tree, table)), (name, table)
    assert scans(found["claim_tickets"], "opt_outs")
