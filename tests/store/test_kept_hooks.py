"""Hooks are kept: made up to so many, changed, replayed within what is kept, and gone with their
org."""

import pytest
import pytest_twisted
from databases import opened
from seed import append, ask, claimed, sms
from test_plans import nodes, plan
from test_statements import TRIED
from twisted.internet.defer import Deferred, gatherResults

from smsd.domain.numbers import address_key
from smsd.store import erasure, events, hooks
from smsd.store.hooks import HookChange, NewHook
from smsd.store.statements import named

DAY = 86_400
URL = "https://app.example.com/"
LEASE = """UPDATE hooks SET leased_by = 'node', leased_until = now() + interval '1 minute',
           tries = 3, failing_since = now(), next_at = now() + interval '1 hour'"""
POSTED = """INSERT INTO deliveries (org_id, hook_id, id, event_id, attempt, ms, status, answer)
            SELECT %(org)s, 'h1', n, (n + 1) / 2, n, n, 200, 'answer ' || n
            FROM generate_series(1, %(most)s) AS n"""


async def listening(database, *org_ids):
    await claimed(database, *org_ids)
    for org_id in org_ids:
        await events.listen(database, org_id, DAY)


async def made(database, org_id="acme", hook_id="h1", **asked):
    return await hooks.make(
        database, org_id, NewHook(url=URL, **asked), hook_id=hook_id, secret="whsec_1"
    )


async def one(database, hook_id="h1"):
    (found,) = await hooks.read(database, "acme", hook_id)
    return found


async def lease(database):
    ((leased_by, leased_until, due),) = await ask(
        database, "SELECT leased_by, leased_until, next_at <= clock_timestamp() FROM hooks"
    )
    return leased_by, leased_until, due


# -- made and seen ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_hook_begins_with_the_next_event(database):
    await listening(database, "acme")
    await append(database, sms(), sms())
    assert await made(database, types=("message.received",), sim="+1555 01", direction="in")
    seen = await one(database)
    last = (await events.bounds(database, ["acme"]))["acme"].last
    assert (seen.cursor, seen.behind) == (last, 0)
    assert (seen.types, seen.direction, seen.sim) == (["message.received"], "in", "+1555 01")
    assert (seen.enabled, seen.disabled_why, seen.next_attempt_at) == (True, None, None)
    await append(database, sms())
    assert (await one(database)).behind == 1


@pytest_twisted.ensureDeferred
async def test_filters_are_kept_as_events_are_compared(database):
    await listening(database, "acme")
    await made(database, address="+1 (555) 01", sim=3)
    ((key, slot, number),) = await ask(
        database, "SELECT address_key, sim_slot, sim_digits FROM hooks"
    )
    assert (key, slot, number) == (address_key("+1 (555) 01"), 3, None)


@pytest_twisted.ensureDeferred
async def test_a_hook_that_is_not_enabled_says_who_wanted_it_so(database):
    await listening(database, "acme")
    await made(database, enabled=False)
    seen = await one(database)
    assert (seen.enabled, seen.disabled_why) == (False, "requested")
    assert seen.disabled_at.endswith("+00:00")
    assert seen.created_at.endswith("+00:00")


@pytest_twisted.ensureDeferred
async def test_an_org_has_so_many_hooks_and_no_more_however_many_come_at_once(conninfo, database):
    await listening(database, "acme", "other")
    await made(database, "other", "h1")
    wide = await opened(conninfo, size=4)
    done = await gatherResults(
        [Deferred.fromCoroutine(made(wide, hook_id=f"h{n}")) for n in range(hooks.MOST + 5)]
    )
    await wide.close()
    assert sorted(done) == [False] * 5 + [True] * hooks.MOST
    assert len(await hooks.read(database, "acme")) == hooks.MOST
    assert not await made(database, "nobody")


# -- changed ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_is_not_named_stays_as_it_is(database):
    await listening(database, "acme")
    await made(database, types=("ticket.sent",), address="+1555", sim="+1555", direction="out")
    await ask(database, LEASE)
    before = await one(database)
    assert await hooks.change(database, "acme", "h1", HookChange())
    assert await one(database) == before
    assert (await lease(database))[0] is None  # whoever posts must see what it is now
    await hooks.change(database, "acme", "h1", HookChange(address=None, types=()))
    after = await one(database)
    assert (after.address, after.types) == (None, [])
    assert (after.direction, after.sim, after.tries) == ("out", "+1555", 3)
    await hooks.change(database, "acme", "h1", HookChange(direction=None, sim=0, address="7"))
    after = await one(database)
    assert (after.direction, after.sim, after.address) == (None, "0", "7")
    assert not await hooks.change(database, "acme", "none", HookChange())
    assert not await hooks.change(database, "other", "h1", HookChange())


@pytest.mark.parametrize("to", [HookChange(enabled=True), HookChange(url="https://b/")], ids=str)
@pytest_twisted.ensureDeferred
async def test_to_begin_anew_is_to_be_tried_at_once_and_by_nobody_who_posts_already(database, to):
    await listening(database, "acme")
    await made(database)
    await ask(database, LEASE)
    assert (await one(database)).next_attempt_at is not None
    await hooks.change(database, "acme", "h1", to)
    seen = await one(database)
    assert (seen.tries, seen.failing_since, seen.next_attempt_at) == (0, None, None)
    assert await lease(database) == (None, None, True)


@pytest_twisted.ensureDeferred
async def test_a_disabled_hook_goes_on_where_it_stands_or_with_the_first_that_is_kept(database):
    await listening(database, "acme")
    await made(database)
    cursor = (await one(database)).cursor
    await hooks.change(database, "acme", "h1", HookChange(enabled=False))
    first = (await one(database)).disabled_at
    await hooks.change(database, "acme", "h1", HookChange(enabled=False, types=()))
    assert (await one(database)).disabled_at == first
    await append(database, sms(), sms())
    await hooks.change(database, "acme", "h1", HookChange(enabled=True))
    seen = await one(database)
    assert (seen.enabled, seen.disabled_why, seen.disabled_at) == (True, None, None)
    assert (seen.cursor, seen.behind) == (cursor, 2)
    await ask(database, "UPDATE org_counters SET events_from = last_event - 1")
    await hooks.change(database, "acme", "h1", HookChange(enabled=True))
    assert (await one(database)).behind == 1


@pytest_twisted.ensureDeferred
async def test_two_secrets_sign_while_one_takes_the_other_s_place(database):
    await listening(database, "acme")
    await made(database)
    assert await hooks.rotate(database, "acme", "h1", secret="whsec_2", overlap=60)
    assert await hooks.signing(database, "acme", "h1") == (URL, ["whsec_2", "whsec_1"])
    assert (await one(database)).old_secret_until.endswith("+00:00")
    await ask(database, "UPDATE hooks SET old_until = now() - interval '1 second'")
    assert await hooks.signing(database, "acme", "h1") == (URL, ["whsec_2"])
    assert (await one(database)).old_secret_until is None
    await hooks.rotate(database, "acme", "h1", secret="whsec_3", overlap=0)
    assert await hooks.signing(database, "acme", "h1") == (URL, ["whsec_3"])
    assert await ask(database, "SELECT old_secret, old_until FROM hooks") == [(None, None)]
    assert not await hooks.rotate(database, "acme", "none", secret="", overlap=0)
    assert await hooks.signing(database, "other", "h1") is None


# -- posted again ----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_replay_goes_back_to_what_is_kept_and_no_further(database):
    await listening(database, "acme")
    await append(database, sms(), sms(), sms())
    await made(database)
    await ask(database, LEASE)
    seen = await one(database)
    kept = await hooks.replay(database, "acme", "h1", 0)
    assert (kept.last, await one(database)) == (seen.cursor, seen)
    await hooks.replay(database, "acme", "h1", kept.last + 1)
    assert await one(database) == seen
    await hooks.replay(database, "acme", "h1", kept.first)
    again = await one(database)
    assert (again.cursor, again.behind, again.tries) == (kept.first, 3, 0)
    assert (again.failing_since, again.next_attempt_at) == (None, None)
    assert await lease(database) == (None, None, True)
    await hooks.replay(database, "acme", "h1", kept.last)
    assert (await one(database)).behind == 0
    assert await hooks.replay(database, "acme", "none", kept.first) is None


@pytest_twisted.ensureDeferred
async def test_deliveries_come_the_newest_first_and_in_pages(database):
    await listening(database, "acme")
    await made(database)
    assert await hooks.deliveries(database, "acme", "h1", before_id=None, limit=5) == []
    assert await hooks.deliveries(database, "acme", "none", before_id=None, limit=5) is None
    await ask(database, POSTED, org="acme", most=5)
    await ask(database, "UPDATE hooks SET hook_id = 'h2'")
    await made(database)
    assert await hooks.deliveries(database, "acme", "h2", before_id=None, limit=5) == []
    page = await hooks.deliveries(database, "acme", "h1", before_id=None, limit=3)
    assert [(each.id, each.event_id, each.answer) for each in page] == [
        (5, 3, "answer 5"),
        (4, 2, "answer 4"),
        (3, 2, "answer 3"),
    ]
    rest = await hooks.deliveries(database, "acme", "h1", before_id=3, limit=3)
    assert [each.id for each in rest] == [2, 1]
    assert await hooks.deliveries(database, "other", "h1", before_id=None, limit=5) is None


@pytest_twisted.ensureDeferred
async def test_a_restored_hook_goes_on_behind_what_the_backup_does_not_know(database):
    await listening(database, "acme")
    await made(database)
    await append(database, sms())
    await ask(database, LEASE)
    await database.run(named("move_counters_everywhere"))
    seen, first = await one(database), (await events.bounds(database, ["acme"]))["acme"].first
    assert (seen.cursor, seen.behind, seen.tries) == (first, 0, 0)
    assert (await lease(database))[:2] == (None, None)
    await append(database, sms())
    assert (await one(database)).behind == 1


# -- gone ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_deleted_hook_is_no_more(database):
    await listening(database, "acme")
    await made(database)
    assert await hooks.delete(database, "acme", "h1")
    assert not await hooks.delete(database, "acme", "h1")
    assert await hooks.read(database, "acme") == []


@pytest_twisted.ensureDeferred
async def test_an_org_goes_with_its_hooks_and_what_came_of_them(database):
    await listening(database, "acme", "other")
    for org_id in ("acme", "other"):
        await made(database, org_id)
        await ask(database, POSTED, org=org_id, most=3)
    await ask(database, "UPDATE orgs SET pepper_id = 'closed' WHERE org_id = 'acme'")
    assert await erasure.delete_org(database, "acme") is None
    await erasure.erase(database, "acme")
    assert await erasure.delete_org(database, "acme") is not None
    for table in ("hooks", "deliveries"):
        assert await ask(database, f"SELECT DISTINCT org_id FROM {table}") == [("other",)]


@pytest_twisted.ensureDeferred
async def test_what_was_answered_to_events_of_an_address_is_forgotten_with_it(database):
    await listening(database, "acme")
    await append(database, sms(address="+1777"), sms(address="+1888"))
    page = await events.read(database, "acme", 0, 10)
    theirs, others = [event.id for event in page.events]
    await ask(database, POSTED, org="acme", most=4)
    await ask(
        database,
        "UPDATE deliveries SET event_id = CASE WHEN id < 3 THEN %(a)s ELSE %(b)s END",
        a=theirs,
        b=others,
    )
    await erasure.forget(database, "acme", address_key("+1777"))
    assert await ask(database, "SELECT DISTINCT event_id FROM deliveries") == [(others,)]


# -- however many there are ------------------------------------------------------------------

FILL = """
    INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
    SELECT 'org-' || n, '', '', '' FROM generate_series(1, 2000) AS n;
    INSERT INTO org_counters (org_id, last_id, last_event) SELECT org_id, 9, 9 FROM orgs;
    INSERT INTO hooks (org_id, hook_id, url, secret, cursor)
    SELECT org_id, 'h' || n, '', '', 0 FROM orgs, generate_series(1, 5) AS n;
    INSERT INTO events (org_id, id, type, message_id, direction, address_key, data)
    SELECT 'org-1', n, 'message.received', n, 'in', 'a' || n % 997, '{}'
    FROM generate_series(1, 20000) AS n;
    INSERT INTO deliveries (org_id, hook_id, id, event_id, attempt, ms, status)
    SELECT 'org-1', 'h' || h, n, n, 1, 1, 200 FROM generate_series(1, 5) AS h,
        generate_series(1, 4000) AS n;
    ANALYZE
"""
MINE = {"org_id": "org-1", "hook_id": "h1"}
ASKED = {
    "due_hooks_everywhere": {},
    "lease_hooks": {},
    "note_post": {},
    "let_hook_go": {},
    "orgs_with_hooks_everywhere": {"after": "", "most": 200},
    "orgs_with_deliveries_everywhere": {"after": "", "most": 200},
    "prune_deliveries": {"most": 1000},
    **dict.fromkeys(
        ("read_hooks", "change_hook", "rotate_hook", "delete_hook", "read_signing"), MINE
    ),
    "make_hook": {"org_id": "org-1", "hook_id": "h9"},
    "replay_hook": MINE,
    "read_deliveries": {**MINE, "before_id": 3000},
    "erase_deliveries": {"org_id": "org-1"},
    "forget_events": {"org_id": "org-1", "address_key": "a7"},
}


@pytest_twisted.ensureDeferred
async def test_no_statement_reads_all_hooks_or_deliveries(database):
    await ask(database, FILL)
    for name, more in ASKED.items():
        found = await plan(database, name, **{**TRIED[name], **more})
        read = [n for n in nodes(found) if n.get("Relation Name") in ("hooks", "deliveries")]
        assert read, name
        assert [n["Relation Name"] for n in read if n["Node Type"] == "Seq Scan"] == [], name


@pytest_twisted.ensureDeferred
async def test_a_page_of_deliveries_looks_at_its_own_and_no_more(database):
    await ask(database, FILL)
    asked = {**MINE, "before_id": 3000, "limit": 20}
    found = await plan(database, "read_deliveries", "ANALYZE, COSTS", **asked)
    (scan,) = [n for n in nodes(found) if n.get("Relation Name") == "deliveries"]
    assert (scan["Index Name"], scan["Actual Rows"]) == ("deliveries_pkey", 20)
