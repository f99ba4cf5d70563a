"""Who has opted out is found by key, however many numbers have."""

import pytest_twisted
from seed import ask
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
