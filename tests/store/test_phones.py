"""Who is on line, which SIMs they hold and held, and which nodes are alive."""

import json

import pytest_twisted
from seed import OTHER_SESSION, SESSION, ask, claimed

from smsd.store import phones
from smsd.store.phones import NODE_TIMEOUT, SessionRow, SimRow

LONG = NODE_TIMEOUT + 1


def session(org_id="acme", session_id=SESSION, phone_id="?", sims=None):
    return SessionRow(org_id, session_id, phone_id, sims)


def sim(slot=0, number="+1555", sim_key=None, label="SIM", carrier="AT&T"):
    return SimRow(sim_key or (number or "?:0").lstrip("+"), slot, number, label, carrier)


async def read(database, org_id="acme"):
    answer = json.loads(await phones.read_sims(database, org_id))
    assert list(answer) == ["online_devices", "live_sims", "known_sims"]
    return answer


async def on_line(database, node_id="node", **said):
    await phones.beat(database, node_id)
    await phones.begin(database, node_id, [session(**said)])


@pytest_twisted.ensureDeferred
async def test_an_org_of_which_nothing_is_known_reads_as_empty(database):
    empty = {"online_devices": 0, "live_sims": [], "known_sims": []}
    assert await read(database) == empty
    await claimed(database, "acme")
    assert await read(database) == empty


@pytest_twisted.ensureDeferred
async def test_a_phones_sims_are_live_while_it_is_on_line_and_known_for_ever(database):
    await claimed(database, "acme", "other")
    await on_line(database)
    assert (await read(database))["online_devices"] == 1
    await phones.report(database, [session(sims=[sim(), sim(1, None, label=None, carrier=None)])])
    told = {"slot": 0, "number": "+1555", "label": "SIM", "carrier": "AT&T"}
    bare = {"slot": 1, "number": None, "label": None, "carrier": None}
    answer = await read(database)
    assert answer["live_sims"] == [told, bare]
    seen = [known.pop("last_seen") for known in answer["known_sims"]]
    assert all("T" in each and each.endswith("+00:00") for each in seen)
    assert answer["known_sims"] == [told, bare]
    assert list((await read(database))["known_sims"][0]) == [*told, "last_seen"]
    await phones.end(database, [session()])
    gone = await read(database)
    assert (gone["online_devices"], gone["live_sims"], len(gone["known_sims"])) == (0, [], 2)
    assert (await read(database, "other"))["known_sims"] == []


@pytest_twisted.ensureDeferred
async def test_a_report_replaces_what_this_phone_reported_before(database):
    await claimed(database, "acme")
    await on_line(database)
    await phones.report(database, [session(sims=[sim(0, "+1"), sim(1, "+2")])])
    await phones.report(database, [session(phone_id="dev", sims=[sim(1, "+1", label="new")])])
    answer = await read(database)
    assert [(s["slot"], s["number"]) for s in answer["live_sims"]] == [(1, "+1")]
    known = [(s["slot"], s["number"], s["label"]) for s in answer["known_sims"]]
    assert known == [(1, "+1", "new"), (1, "+2", "SIM")]
    assert await ask(database, "SELECT phone_id FROM sessions") == [("dev",)]
    await phones.report(database, [session(sims=[])])
    assert (await read(database))["live_sims"] == []


@pytest_twisted.ensureDeferred
async def test_two_phones_that_report_one_sim_in_one_batch_are_no_conflict(database):
    await claimed(database, "acme", "other")
    rows = [session(), session(session_id=OTHER_SESSION), session("other")]
    await phones.beat(database, "node")
    await phones.begin(database, "node", rows)
    reports = [SessionRow(r.org_id, r.session_id, "?", [sim(), sim(1)]) for r in rows]
    await phones.report(database, reports)
    assert (await read(database))["online_devices"] == 2
    assert len((await read(database))["live_sims"]) == 4
    assert len((await read(database))["known_sims"]) == 1
    assert len((await read(database, "other"))["known_sims"]) == 1


@pytest_twisted.ensureDeferred
async def test_live_sims_come_in_the_order_in_which_their_phones_connected(database):
    await claimed(database, "acme")
    for session_id, number in ((OTHER_SESSION, "+1"), (SESSION, "+2")):
        await on_line(database, session_id=session_id)
        await phones.report(database, [session(session_id=session_id, sims=[sim(number=number)])])
    answer = await read(database)
    assert [s["number"] for s in answer["live_sims"]] == ["+1", "+2"]
    assert [s["number"] for s in answer["known_sims"]] == ["+2", "+1"]


@pytest_twisted.ensureDeferred
async def test_a_report_of_a_session_that_has_ended_is_remembered_and_not_live(database):
    await claimed(database, "acme")
    await phones.report(database, [session(sims=[sim()])])
    answer = await read(database)
    assert (answer["live_sims"], len(answer["known_sims"])) == ([], 1)


@pytest_twisted.ensureDeferred
async def test_a_session_begins_once(database):
    await claimed(database, "acme")
    await on_line(database)
    await on_line(database)
    assert (await read(database))["online_devices"] == 1


async def silent(database, node_id, seconds):
    age = "UPDATE nodes SET seen_at = seen_at - make_interval(secs => %(s)s) WHERE node_id = %(n)s"
    await ask(database, age, s=seconds, n=node_id)


@pytest_twisted.ensureDeferred
async def test_the_phones_of_a_node_that_is_not_heard_are_not_on_line(database):
    await claimed(database, "acme")
    await on_line(database, "one")
    await phones.report(database, [session(sims=[sim()])])
    await silent(database, "one", LONG)
    answer = await read(database)
    assert (answer["online_devices"], answer["live_sims"]) == (0, [])
    await phones.beat(database, "one")
    assert (await read(database))["online_devices"] == 1


@pytest_twisted.ensureDeferred
async def test_a_dead_node_is_swept_with_its_sessions_and_no_other_is(database):
    await claimed(database, "acme")
    await on_line(database, "dead")
    await on_line(database, "alive", session_id=OTHER_SESSION)
    await silent(database, "dead", LONG)
    await silent(database, "alive", NODE_TIMEOUT - 10)
    assert await phones.sweep_nodes_everywhere(database) == ["dead"]
    assert await phones.sweep_nodes_everywhere(database) == []
    assert await ask(database, "SELECT node_id FROM sessions") == [("alive",)]


@pytest_twisted.ensureDeferred
async def test_a_node_learns_that_it_is_new_or_was_held_for_dead(database):
    assert await phones.beat(database, "node")
    assert not await phones.beat(database, "node")
    assert not await phones.beat(database, "node")
    await silent(database, "node", LONG)
    await phones.sweep_nodes_everywhere(database)
    assert await phones.beat(database, "node")


@pytest_twisted.ensureDeferred
async def test_a_node_that_leaves_takes_its_sessions_with_it(database):
    await claimed(database, "acme")
    await on_line(database, "one")
    await on_line(database, "other", session_id=OTHER_SESSION)
    await phones.leave(database, "one")
    assert await ask(database, "SELECT node_id FROM sessions") == [("other",)]
    assert await ask(database, "SELECT node_id FROM nodes") == [("other",)]
