"""Every statement of the package is planned and run, and the schema is the one on record.

What the statements mean is tried in the other files; here none may be forgotten.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
import pytest_twisted
from seed import HMAC, SESSION, append, ask, claimed, pushed, ticket

from smsd.domain.records import jsoned
from smsd.store import binaries, statements
from smsd.store.statements import Statement, all_statements, named
from smsd.store.trouble import DataRefused

ORG = {"org_id": "acme"}
ROW = {"org_id": "acme", "session_id": SESSION, "phone_id": "?"}
BATCH = "00000000-0000-4000-8000-00000000000{}"
KEY = {**ORG, "key_id": "k1"}
HOOK_OF = {**ORG, "hook_id": "h1"}
FILTERS = {
    "direction": "in",
    "address": "+1555",
    "address_key": "1555",
    "sim_asked": "0",
    "sim_slot": 0,
    "sim_digits": None,
}
SIMS = {**ORG, "sim_keys": ["1555", "pixel:0"]}
SIM = {"sim_key": "1555", "slot": 0, "number": "+1555", "label": None, "carrier": None}

#: Parameters under which each statement can be run, on an org with one ticket of each state.
TRIED = {
    "version": {},
    "durability": {},
    "census_everywhere": {"most": 100, "org_ids": ["acme"], "sim_keys": ["*"]},
    "append_messages": {"rows": jsoned([ticket()]), "batch_id": BATCH.format(1)},
    "settle_results": {"rows": jsoned([{"ord": 0, **ORG, "id": 2, "status": "sent"}])},
    "settle_deliveries": {"rows": jsoned([{"ord": 0, **ORG, "id": 2, "delivered": True}])},
    "claim_tickets": {
        **ORG,
        "serves": jsoned([{"sim_key": "*"}]),
        "session_id": SESSION,
        "phone_id": "?",
        "ledger": False,
        "places": 5,
        "batch_id": BATCH.format(2),
    },
    "read_handed": {**ORG, "ids": [2], "session_id": SESSION},
    "end_pushes": {"rows": jsoned([{**ORG, "id": 2, "session_id": SESSION}])},
    "fail_unconfirmed_everywhere": {"timeout": 0.0, "detail": "late"},
    "find_owed": {"rows": jsoned([{**ORG, "ord": 0, "device": "", "numbers": [], "nobody": True}])},
    "push_again": {
        **ORG,
        "rows": jsoned([{"id": 2, "session_id": SESSION}]),
        "session_id": SESSION,
        "phone_id": "?",
        "ledger": False,
        "max_attempts": 5,
        "detail": "hopeless",
        "batch_id": BATCH.format(3),
    },
    "note_waits": {"rows": jsoned([{**ORG, "id": 2, "session_id": SESSION, "waited_ms": 1500}])},
    "requeue_unconfirmed_everywhere": {"timeout": 0.0, "max_attempts": 5, "detail": "hopeless"},
    "waiting_orgs": {"org_ids": ["acme", "other"]},
    "read_messages": {
        **ORG,
        "since_id": 0,
        "before_id": None,
        "direction": None,
        "status": None,
        "address_key": None,
        "sim_digits": None,
        "sim_slot": None,
        "newest_first": False,
        "limit": 100,
    },
    "find_org": ORG,
    "recall_address": {"rows": jsoned([{**ORG, "ord": 0, "address": "::1"}])},
    "create_org": {"org_id": "b-2", "secret_hash": "", "secret_hmac": HMAC, "pepper_id": ""},
    "create_counter": {"org_id": "b-2"},
    "renew_hmac": {
        **ORG,
        "secret_hash": "hash of acme",
        "secret_hmac": HMAC,
        "pepper_id": "new",
    },
    "hold_lock": ORG,
    "reserve_failure": {**ORG, "address": "::1", "window": 900},
    "lock_org": {**ORG, "seconds": 300},
    "unlock_org": {**ORG, "locked_until": "-infinity"},
    "forgive_address": {**ORG, "address": "::1"},
    "know_address": {**ORG, "address": "::1", "hmac": HMAC},
    "hasten": {"lock_timeout": "300ms"},
    "fence_batch": {"batch_id": BATCH.format(4)},
    "read_batch": {"batch_id": BATCH.format(4)},
    "prune_batches_everywhere": {},
    "pass_times_everywhere": {"most": 5},
    "read_ticket": {**ORG, "id": 2},
    "cancel_ticket": {**ORG, "id": 2},
    "cancel_handed": {**ORG, "id": 2, "session_id": SESSION},
    "read_reply": {**ORG, "id": 2},
    "find_call": {**ORG, "key": "k"},
    "prune_calls_everywhere": {"days": 7},
    "prune_failures_everywhere": {"window": 900},
    "prune_addresses_everywhere": {"most": 256},
    "begin_sessions": {"node_id": "node", "rows": jsoned([ROW])},
    "report_sims": {"rows": jsoned([{**ROW, "sims": [SIM]}])},
    "end_sessions": {"rows": jsoned([ROW])},
    "read_sims": {**ORG, "node_timeout": 15, "paced": True},
    "beat": {"node_id": "node"},
    "leave": {"node_id": "node"},
    "sweep_nodes_everywhere": {"timeout": 15},
    "read_orgs_everywhere": {"after": "", "org_id": None, "most": 5, "node_timeout": 15},
    "describe_org": {**ORG, "window": 900},
    "orgs_after_everywhere": {"after": "", "most": 5},
    "replace_secret": {
        **ORG,
        "secret_hash": "",
        "secret_hmac": HMAC,
        "pepper_id": "new",
        "grace": 60,
        "present": None,
    },
    "forget_failures": ORG,
    "closed_orgs": {"org_ids": ["acme"]},
    "read_phones_everywhere": {"org_id": None, "node_timeout": 15},
    "open_tickets_everywhere": {"org_id": None, "seconds": 60.0, "most": 5, "node_timeout": 15},
    "find_ticket": {**ORG, "id": 2, "node_timeout": 15},
    "requeue_ticket": {**ORG, "id": 2, "node_timeout": 15},
    "fail_ticket": {**ORG, "id": 2, "detail": "by hand"},
    "prune_messages": {**ORG, "days": 1, "after": 0, "most": 5},
    "forget_address": {**ORG, "address_key": "1", "most": 5},
    "erase_messages": {**ORG, "most": 5},
    "hold_counter": ORG,
    "delete_org": ORG,
    "older_statements": {"moment": "2001-01-01"},
    "read_limits": {"org_ids": ["acme"]},
    "hold_limits": ORG,
    "set_limits": {
        **ORG,
        "max_stored": 1,
        "max_queued": 0,
        "max_sends_per_minute": None,
        "to_prefixes": ["+49"],
        "queue_ttl": 60,
    },
    "org_usage": {**ORG, "queued": 5, "sends": 5},
    "count_messages": {**ORG, "most": 5},
    "set_opt_outs": {**ORG, "opt_outs": jsoned({"scope": "sim"})},
    "read_opt_outs": {**ORG, "address_key": None, "after_key": "", "after_sim": "", "most": 5},
    "opt_out": {**ORG, "address_key": "1555", "address": "+1555"},
    "lift_opt_out": {**ORG, "address_key": "1555"},
    "would_refuse": {**ORG, "rows": jsoned([{"ord": 0, "address_key": "1555", "taken": True}])},
    "refuse_given": {**ORG, "ids": [1, 2], "given": [2]},
    "owing_everywhere": {"most": 5},
    "take_owed": ORG,
    "hold_claims": {},
    "count_orgs_everywhere": {"most": 5},
    "orgs_with_ttl_everywhere": {"after": "", "most": 5},
    "orgs_by_ttl_everywhere": {"queue_ttl": 60, "after": "", "most": 5},
    "expire_tickets": {
        "rows": jsoned([{**ORG, "ttl": 60}]),
        "most": 5,
        "detail": "after %s seconds",
    },
    "listen": {**ORG, "keep": 60.0},
    "listen_on": {"org_ids": ["acme", "other"], "least": 60.0, "keep": 90.0},
    "read_bounds": {"org_ids": ["acme", "other"]},
    "read_events": {
        **ORG,
        "after": 0,
        "limit": 5,
        "types": ["ticket.sent"],
        "direction": "out",
        "address_key": "1",
        "sim_digits": "1",
        "sim_slot": 0,
    },
    "orgs_with_events_everywhere": {"after": "", "most": 5},
    "prune_events": {**ORG, "seconds": 60.0, "most": 5},
    "forget_events": {**ORG, "address_key": "1", "most": 5},
    "erase_events": {**ORG, "most": 5},
    "recall_keys": {"rows": jsoned([{**ORG, "ord": 0, "hash": "00" * 32}])},
    "use_key": KEY,
    "make_key": {
        **KEY,
        "hash": "11" * 32,
        "name": "one",
        "scopes": ["send"],
        "to_prefixes": [],
        "segments_a_day": 5,
        "expires_in": None,
        "present": HMAC,
        "most": 5,
    },
    "read_keys": KEY,
    "spend_segments": {**KEY, "segments": 2, "segments_a_day": 5},
    "give_segments_back": {**KEY, "segments": 1},
    "read_budget": KEY,
    "ended_keys": {"org_ids": ["acme"], "key_ids": ["none"]},
    "delete_key": KEY,
    "make_hook": {
        **HOOK_OF,
        **FILTERS,
        "url": "https://app.example.com/",
        "types": ["message.received"],
        "secret": "whsec_",
        "enabled": True,
        "most": 5,
    },
    "read_hooks": {**ORG, "hook_id": None},
    "change_hook": {
        **HOOK_OF,
        **FILTERS,
        "url": None,
        "types": [],
        **dict.fromkeys(("sets_direction", "sets_address", "sets_sim", "enabled", "anew"), True),
    },
    "rotate_hook": {**HOOK_OF, "secret": "whsec_", "overlap": 60},
    "read_signing": HOOK_OF,
    "replay_hook": {**HOOK_OF, "since": 0},
    "read_deliveries": {**HOOK_OF, "before_id": None, "limit": 5},
    "erase_deliveries": {**ORG, "most": 5},
    "delete_hook": HOOK_OF,
    "hold_sims": SIMS,
    "read_uses": SIMS,
    "read_turns": {**SIMS, "most": 5},
    "give_back": {**ORG, "id": 1},
    "claim_in_turn": {
        **SIMS,
        "serves": jsoned([{"sim_key": "*"}]),
        "chosen": jsoned([{"ord": 0, "id": 1, "segments": 1, "sims": ["1555"]}]),
        "seconds": 60.0,
        "session_id": SESSION,
        "phone_id": "?",
        "ledger": False,
        "batch_id": BATCH.format(5),
    },
    "set_paces": {**ORG, "paces": jsoned({"*": {"max_per_minute": 5}})},
    "due_hooks_everywhere": {"node_id": "node", "busy": ["acme/h"], "most": 5, "org_ids": None},
    "lease_hooks": {"node_id": "node", "org_ids": ["acme"], "hook_ids": ["h"], "lease": 60.0},
    "note_post": {
        **ORG,
        "node_id": "node",
        "hook_id": "h",
        "event_id": 1,
        "attempt": 1,
        "taken": False,
        "done": False,
        "pause": 5.0,
        "why": None,
        "status": None,
        "error": "unreachable",
        "ms": 3,
        "answer": "",
        "lease": 60.0,
    },
    "let_hook_go": {**ORG, "node_id": "node", "hook_id": "h", "upto": 1, "pause": 0.0},
    "orgs_with_hooks_everywhere": {"after": "", "most": 5},
    "orgs_with_deliveries_everywhere": {"after": "", "most": 5},
    "prune_deliveries": {**ORG, "most": 5},
    "schema_is_there": {},
    "schema_version": {},
    "server_major": {},
    "use_everywhere": {},
    "move_counters_everywhere": {},
    "fail_pending_everywhere": {},
    "forget_nodes_everywhere": {},
}


def test_every_statement_is_tried_and_none_that_is_no_more():
    assert sorted(TRIED) == sorted(all_statements())


@pytest_twisted.ensureDeferred
async def test_every_statement_can_be_planned_and_run(database):
    await claimed(database, "acme")
    await append(database, ticket(), pushed())
    for name, parameters in TRIED.items():
        statement = named(name)
        plan = await database.run(Statement(name, f"EXPLAIN {statement.sql}"), **parameters)
        assert plan
        await database.run(statement, **parameters)


@pytest.mark.parametrize("statement", all_statements().values(), ids=lambda s: s.name)
def test_every_statement_says_what_it_is_for_and_takes_only_named_parameters(statement):
    first, *rest = statement.sql.splitlines()
    assert re.match(r"-- [A-Z].*", first)
    bare = re.sub(r"%\(\w+\)s", "", "\n".join(rest))
    assert "%" not in bare
    assert set(re.findall(r"%\((\w+)\)s", statement.sql)) == set(TRIED[statement.name])


@pytest.mark.parametrize("statement", all_statements().values(), ids=lambda s: s.name)
def test_only_upkeep_crosses_orgs(statement):
    """A statement knows its org, or rows that name theirs, or says in its name that it does not."""
    about_orgs = re.search(
        r"\b(orgs|messages|sims|known_addresses|auth_failures)\b", statement.sql.partition("\n")[2]
    )
    if about_orgs and not statement.name.endswith("_everywhere"):
        assert "org_id" in statement.sql


def test_an_unknown_name_is_an_error_at_once():
    with pytest.raises(KeyError):
        named("no_such_statement")


SQL = Path(statements.__file__).with_name("sql")


@pytest.mark.parametrize("statement", all_statements().values(), ids=lambda s: s.name)
def test_no_part_is_left_unspelt(statement):
    assert not re.search(r"@\w|\$\d", statement.sql)


def test_every_part_stands_for_itself_somewhere():
    parts = re.findall(r"^-- part (\w+) --$", SQL.joinpath("parts.sql").read_text(), re.MULTILINE)
    files = (path.read_text() for path in SQL.iterdir())
    used = re.findall(r"^ *@(\w+)", "".join(files), re.MULTILINE)
    assert parts
    assert sorted(parts) == sorted(set(used))


def test_a_part_takes_the_words_behind_its_name_and_keeps_the_indent():
    spelt = statements.spelt_out("WITH told AS (\n    @tell_of_tickets changed\n)\n")
    assert "\n    INSERT INTO events (\n" in spelt
    assert "\n    FROM heard AS h JOIN changed AS m USING (org_id)\n)" in spelt


def test_an_unknown_part_is_an_error_at_once():
    with pytest.raises(KeyError, match="no_such_part"):
        statements.spelt_out("  @no_such_part acme")


@pytest_twisted.ensureDeferred
async def test_every_key_and_index_of_an_orgs_rows_starts_with_its_org(database):
    found = await ask(
        database,
        """SELECT c.relname, pg_get_indexdef(i.indexrelid, 1, false)
           FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
           JOIN pg_class AS t ON t.oid = i.indrelid
           JOIN pg_namespace AS n ON n.oid = t.relnamespace AND n.nspname = 'public'
           WHERE t.relname NOT IN ('nodes', 'batches', 'schema_migrations')""",
    )
    others = {name for name, first in found if first != "org_id"}
    # By which the sessions of a dead node are swept, old keys of all orgs forgotten, and hooks
    # found for which something is to be posted.
    assert others == {"sessions_node", "call_keys_at", "hooks_due"}


# -- the schema ------------------------------------------------------------------------------

GOLDEN, MAJOR = Path(__file__).with_name("schema.sql"), 18


def dumped(conninfo):
    """The schema as pg_dump tells it, without what differs from run to run."""
    found = binaries.find()
    pg_dump = found.directory / "pg_dump"
    if found.major != MAJOR or not pg_dump.exists():
        pytest.skip(f"the schema on record is what pg_dump {MAJOR} tells of it")
    told = subprocess.run(
        [pg_dump, "--schema-only", "--no-owner", "--no-privileges", "--dbname", conninfo],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    kept = [line for line in told.splitlines() if not line.startswith(("--", "\\", "SET "))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip() + "\n"


def test_the_schema_is_the_one_on_record(conninfo):
    found = dumped(conninfo)
    if "RENEW" in os.environ:
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text(), (
        f"the migrations make another schema than {GOLDEN.name}; if that is meant, renew it:"
        " RENEW=1 pytest tests/store/test_statements.py -k on_record"
    )


# -- every rule of the schema is broken by somebody ------------------------------------------

ORGS = "INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id) VALUES ('{}', '', '', '')"
IN = "INSERT INTO messages (org_id, id, status, direction, address, address_key, body{}) VALUES"
OUT = IN.format(", sim_key, ref{}")
IN_ROW, OUT_ROW = (
    "('acme', 9, '{}', 'in', '', '', ''{})",
    "('acme', 9, '{}', 'out', '', '', '', '*', 'r'{})",
)


def inbound(status="received", columns="", values=""):
    return IN.format(columns) + IN_ROW.format(status, values)


def outbound(status, columns="", values=""):
    return OUT.format(columns) + OUT_ROW.format(status, values)


KEYS = """INSERT INTO api_keys (org_id, key_id, hash, name, scopes)
          SELECT org_id, key_id, hash::bytea, '', '{{}}'
          FROM (VALUES {}) AS k (org_id, key_id, hash)"""
SPENT = "INSERT INTO api_key_spending VALUES ('acme', 'spent', '2026-01-31', 1)"
USED = "INSERT INTO sim_uses (org_id, sim_key, at, message_id, segments) VALUES ({})"
OPTED = """INSERT INTO {0} (org_id, address_key, address, {1})
           SELECT '{2}', '1', '1', {3} FROM generate_series(1, 2) AS n"""
HOOK = "INSERT INTO hooks (org_id, hook_id, url, secret, cursor{}) VALUES ({}, 'h', '', '', 0{})"
POSTED = """INSERT INTO deliveries (org_id, hook_id, id, event_id, attempt, ms, status, error)
            SELECT 'acme', 'h', 1, 1, 1, 1, {} FROM generate_series(1, {})"""
LIFE = "messages_lifecycle"
SENDING = ", attempts, session_id, handed_at"
BROKEN = [
    ("orgs_org_id_check", ORGS.format("a")),
    ("orgs_org_id_check", ORGS.format("x" * 65)),
    ("orgs_org_id_check", ORGS.format("a b c")),
    ("orgs_org_id_check", ORGS.format("abc\n")),
    ("orgs_pkey", ORGS.format("acme")),
    ("org_counters_pkey", "INSERT INTO org_counters VALUES ('acme')"),
    (
        "events_pkey",
        "INSERT INTO events (org_id, id, type, data)"
        " SELECT 'acme', 1, 'x', '{}' FROM generate_series(1, 2)",
    ),
    ("org_locks_pkey", "INSERT INTO org_locks VALUES ('acme'), ('acme')"),
    ("org_locks_org_id_fkey", "INSERT INTO org_locks VALUES ('nobody')"),
    ("org_limits_pkey", "INSERT INTO org_limits VALUES ('acme'), ('acme')"),
    ("org_limits_org_id_fkey", "INSERT INTO org_limits VALUES ('nobody')"),
    ("auth_failures_org_id_fkey", "INSERT INTO auth_failures VALUES ('nobody', '')"),
    ("known_addresses_org_id_fkey", "INSERT INTO known_addresses VALUES ('nobody', '', '', now())"),
    (
        "known_addresses_pkey",
        "INSERT INTO known_addresses VALUES ('acme', 'a', '', now()), ('acme', 'a', '', now())",
    ),
    ("sims_org_id_fkey", "INSERT INTO sims VALUES ('nobody', '1', 0, '', '', '', now())"),
    (
        "sims_pkey",
        "INSERT INTO sims SELECT 'acme', '1', 0, '', '', '', now() FROM generate_series(1, 2)",
    ),
    ("api_keys_pkey", KEYS.format("('acme', 'k', 'one'), ('acme', 'k', 'two')")),
    ("api_keys_hash", KEYS.format("('acme', 'k', 'one'), ('acme', 'l', 'one')")),
    ("api_keys_org_id_fkey", KEYS.format("('nobody', 'k', 'one')")),
    ("api_key_spending_pkey", f"{SPENT}; {SPENT}"),
    (
        "api_key_spending_org_id_key_id_fkey",
        "INSERT INTO api_key_spending VALUES ('acme', 'none', '2026-01-31', 1)",
    ),
    ("call_keys_org_id_fkey", "INSERT INTO call_keys VALUES ('nobody', 'k', '', 1, 1)"),
    (
        "call_keys_pkey",
        "INSERT INTO call_keys VALUES ('acme', 'k', '', 1, 1), ('acme', 'k', '', 2, 1)",
    ),
    ("sim_uses_org_id_fkey", USED.format("'nobody', '1', 'now', 1, 1")),
    ("sim_uses_pkey", USED.format("'acme', '1', 'now', 1, 1), ('acme', '1', 'now', 1, 2")),
    ("opt_outs_org_id_fkey", OPTED.format("opt_outs", "sim_digits", "nobody", "n")),
    ("opt_outs_pkey", OPTED.format("opt_outs", "sim_digits", "acme", 2)),
    (
        "opt_out_answers_org_id_fkey",
        OPTED.format("opt_out_answers", "message_id, what", "nobody", "1, n"),
    ),
    ("opt_out_answers_pkey", OPTED.format("opt_out_answers", "message_id, what", "acme", "1, 1")),
    ("org_counters_scope", "UPDATE org_counters SET opt_out_scope = 'all'"),
    ("hooks_org_id_fkey", HOOK.format("", "'nobody'", "")),
    ("hooks_pkey", "; ".join(2 * [HOOK.format("", "'acme'", "")])),
    ("hooks_enabled", HOOK.format(", enabled", "'acme'", ", false")),
    ("hooks_enabled", HOOK.format(", disabled_why", "'acme'", ", 'gone'")),
    ("hooks_enabled", HOOK.format(", disabled_at", "'acme'", ", now()")),
    ("deliveries_pkey", POSTED.format("200, NULL", 2)),
    ("deliveries_ended", POSTED.format("NULL, NULL", 1)),
    ("deliveries_ended", POSTED.format("200, 'time_out'", 1)),
    ("batches_pkey", f"INSERT INTO batches VALUES ('{SESSION}'), ('{SESSION}')"),
    ("nodes_pkey", "INSERT INTO nodes VALUES ('n', now()), ('n', now())"),
    ("sessions_org_id_fkey", f"INSERT INTO sessions VALUES ('nobody', '{SESSION}', '', '')"),
    (
        "sessions_pkey",
        "INSERT INTO sessions (org_id, session_id, phone_id, node_id)"
        f" SELECT 'acme', '{SESSION}', '', '' FROM generate_series(1, 2)",
    ),
    ("messages_pkey", "UPDATE messages SET id = 1 WHERE org_id = 'acme'"),
    ("messages_dedupe", "UPDATE messages SET dedupe = 'x' WHERE direction = 'in'"),
    (
        "schema_migrations_pkey",
        "INSERT INTO schema_migrations SELECT * FROM schema_migrations",
    ),
    (LIFE, inbound("queued")),
    (LIFE, inbound("sent")),
    (LIFE, inbound("nonsense")),
    (LIFE, inbound(columns=", sim_key", values=", '*'")),
    (LIFE, inbound(columns=", ref", values=", 'r'")),
    (LIFE, inbound(columns=", attempts", values=", 1")),
    (LIFE, "UPDATE messages SET direction = 'sideways'"),
    (LIFE, "UPDATE messages SET sim_key = NULL WHERE direction = 'out'"),
    (LIFE, "UPDATE messages SET ref = NULL WHERE direction = 'out'"),
    (LIFE, "UPDATE messages SET dedupe = 'x' WHERE direction = 'out'"),
    (LIFE, outbound("received")),
    (LIFE, outbound("nonsense")),
    (LIFE, outbound("queued", ", sent_at", ", now()")),
    (LIFE, outbound("queued", ", error", ", 'x'")),
    (LIFE, outbound("sending", SENDING, f", 0, '{SESSION}', now()")),
    (LIFE, outbound("sending", SENDING, ", 1, NULL, now()")),
    (LIFE, outbound("sending", SENDING, f", 1, '{SESSION}', NULL")),
    (LIFE, outbound("sending", SENDING + ", sent_at", f", 1, '{SESSION}', now(), now()")),
    (LIFE, outbound("sending", SENDING + ", error", f", 1, '{SESSION}', now(), 'x'")),
    (LIFE, outbound("sent", ", attempts", ", 1")),
    (LIFE, outbound("sent", ", sent_at", ", now()")),
    (LIFE, outbound("sent", ", attempts, sent_at, error", ", 1, now(), 'x'")),
    (LIFE, outbound("failed")),
    (LIFE, outbound("cancelled", ", error", ", 'x'")),
    (LIFE, outbound("cancelled", ", sent_at", ", now()")),
    (LIFE, outbound("cancelled", ", attempts", ", 1")),
    (LIFE, outbound("failed", ", error, sent_at", ", 'x', now()")),
]
FINE = [
    ORGS.format("x" * 64),
    inbound(),
    outbound("queued"),
    outbound("sending", SENDING, f", 1, '{SESSION}', now()"),
    outbound("sent", ", attempts, sent_at", ", 1, now()"),
    outbound("failed", ", error", ", 'x'"),
    outbound("cancelled"),
]


async def with_rows(database):
    await claimed(database, "acme")
    row = " ('acme', {}, 'received', 'in', '', '', '')"
    for at in (11, 12):
        await ask(database, IN.format("") + row.format(at))
    await append(database, ticket())
    await ask(database, KEYS.format("('acme', 'spent', 'other')"))


@pytest_twisted.ensureDeferred
async def test_what_breaks_a_rule_of_the_schema_is_refused_and_the_rule_is_named(database):
    await with_rows(database)
    for constraint, text in BROKEN:
        with pytest.raises(DataRefused) as caught:
            await ask(database, text)
        assert caught.value.constraint == constraint, text


@pytest_twisted.ensureDeferred
async def test_what_keeps_the_rules_is_not(database):
    await with_rows(database)
    for text in FINE:
        await ask(database, text)
        await ask(database, "DELETE FROM messages WHERE id = 9")


@pytest_twisted.ensureDeferred
async def test_every_rule_of_the_schema_is_broken_above(database):
    rules = await ask(
        database,
        """SELECT conname FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'p', 'f', 'x')
           UNION SELECT c.relname FROM pg_index AS i
           JOIN pg_class AS c ON c.oid = i.indexrelid
           WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace""",
    )
    assert {name for (name,) in rules} == {constraint for constraint, _ in BROKEN}
