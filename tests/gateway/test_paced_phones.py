"""Tickets for a paced SIM wait for their turn, and go by themselves when it has come."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
import pytest_twisted
from msgspec.structs import replace
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets, together

from smsd.domain.keys import Key
from smsd.domain.pacing import Pace, Window
from smsd.domain.records import Draft, Sim, Wish
from smsd.gateway.doorman import Caller
from smsd.gateway.pacing import WITHIN
from smsd.gateway.visit import Identity, Limits
from smsd.gateway.wheel import Wheel
from smsd.store import limits, pacing, trouble

TWO = Pace(max_per_minute=2)
PACED = Sim(slot=0, number="+1555", pace=TWO)
PLAIN = Sim(slot=0, number="+1555")
OTHER = Sim(slot=1, number="+1666")
LONG = "a" * 161


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def set_pace(node: Node, sim: str, pace: Pace | None, org_id: str = ORG) -> None:
    """An org's own word, as the node that is told hears it."""
    own = await pacing.set_pace(node.database, org_id, sim, pace)
    node.allowances.learn(org_id, own)


async def pass_time(node: Node, seconds: float) -> None:
    """For the SIMs, and then for the node: the database's time is not the test's."""
    past = "UPDATE sim_uses SET at = at - make_interval(secs => %(seconds)s)"
    await sql(node.database, past, seconds=seconds)
    node.clock.advance(seconds)
    await node.settled()


async def away(node: Node, *phones: RecordingPhone) -> None:
    """The phones leave, so that no timer is left behind."""
    for phone in phones:
        await node.leave(phone)
    node.feeding.close()


@pytest_twisted.ensureDeferred
async def test_what_a_phone_says_of_its_sim_is_kept_to_and_the_wheel_sends_the_rest(
    node, org, database
):
    phone = await node.come(None, PACED)
    accepted = await node.send(None, None, None)
    assert [one.status for one in accepted.results] == ["queued"] * 3
    await node.settled()
    assert phone.pushed == [1, 2]
    assert not phone.visit.laden, "what waits for its turn is not claimed for nothing"
    assert node.pacing.held_back() == {(ORG, queue) for queue in ("*", "slot:0", "1555")}
    asked = node.database.run_names["claim in turn"]
    await node.send(None)
    await node.settled()
    await pass_time(node, 59)
    assert phone.pushed == [1, 2]
    assert node.database.run_names["claim in turn"] == asked, "nobody asks while it is closed"
    await pass_time(node, 1.5)
    assert phone.pushed == [1, 2, 3, 4]
    await away(node, phone)
    assert node.pacing.held_back() == set()


@pytest_twisted.ensureDeferred
async def test_what_the_phone_dropped_as_too_late_is_given_back_and_the_next_goes(
    node, org, database
):
    phone = await node.come(None, PACED)
    drafts = [Draft(to="+15550001111", body="hi", ttl=60)] * 4
    await soon(node.outbox.accept(Caller(ORG), drafts))
    await node.settled()
    assert phone.pushed == [1, 2]
    assert await node.result(phone.visit, 1, False, error="expired") == "settled"
    await node.settled()
    assert phone.pushed == [1, 2, 3]
    assert await sql(database, "SELECT message_id FROM sim_uses ORDER BY 1") == [(2,), (3,)]
    assert await node.result(phone.visit, 2, False, error="no signal") == "settled"
    await node.settled()
    assert phone.pushed == [1, 2, 3], "what has failed may have been sent"
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_what_a_phone_calls_expired_without_a_time_of_its_own_counts(node, org, database):
    phone = await node.come(None, PACED)
    await node.send(None, None, None)
    await node.settled()
    assert await node.result(phone.visit, 1, False, error="expired") == "settled"
    await node.settled()
    assert await tickets(database) == {1: "failed", 2: "sending", 3: "queued"}
    assert phone.pushed == [1, 2]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_a_phone_that_has_gone_leaves_no_timer(node, org, database):
    phone = await node.come(None, PACED)
    await node.send(None, None, None)
    await node.settled()
    assert len(node.clock.getDelayedCalls()) == 1
    await node.leave(phone)
    assert node.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_an_orgs_word_holds_for_the_number_else_the_slot_else_every_sim(node, org, database):
    await set_pace(node, "*", Pace(max_per_minute=1))
    await set_pace(node, "slot:1", Pace(max_per_minute=2))
    await set_pace(node, "1777", Pace(max_per_minute=3))
    third = Sim(slot=1, number="+1777")
    first = await node.come(None, PLAIN, OTHER, identity=Identity("a"))
    second = await node.come(None, third, identity=Identity("b"))
    await node.send(*["+1555", "+1666", "+1777"] * 4)
    await node.settled()
    assert first.pushed == [1, 2, 5]
    assert second.pushed == [3, 6, 9]
    await away(node, first, second)


@pytest_twisted.ensureDeferred
async def test_of_the_phones_word_and_the_orgs_the_smaller_wins(node, org, database):
    await set_pace(node, "1555", Pace(max_per_hour=3))
    phone = await node.come(None, PACED)
    await node.send(*[None] * 5)
    await node.settled()
    assert phone.pushed == [1, 2]
    await pass_time(node, 61)
    assert phone.pushed == [1, 2, 3]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_a_sim_without_a_pace_beside_one_is_served_at_once_and_counts_nowhere(
    node, org, database
):
    phone = await node.come(None, PACED, OTHER)
    await node.send(*["+1555"] * 3)
    await node.settled()
    accepted = await node.send("+1666", "+1666", "+1666")
    assert [one.status for one in accepted.results] == ["sending"] * 3
    assert phone.pushed == [1, 2, 4, 5, 6]
    assert await sql(database, "SELECT DISTINCT sim_key FROM sim_uses") == [("1555",)]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_an_org_without_paces_asks_nothing_more(node, org, database):
    phone = await node.come(None, PLAIN)
    await node.send(None, None)
    node.feeding.wake({phone.visit})
    await node.settled()
    assert phone.pushed == [1, 2]
    assert not {"claim in turn", "read_uses"} & node.database.run_names.keys()
    assert node.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_phone_that_was_paced_before_is_given_nothing_until_it_says_its_sims(
    node, org, database
):
    await limits.change(database, ORG, lambda own: replace(own, max_queued=1000))
    first = await node.come(None, PACED)
    await node.leave(first)
    await node.send(*[None] * 5)
    again = Node(database, node.clock, name="node-2", hashing=node.hashing)
    await again.allowances.look(database, [ORG])
    phone = await again.come(greeted=True)
    assert [one.status for one in (await again.send(None)).results] == ["queued"]
    await again.settled()
    assert phone.pushed == []
    await soon(again.attendance.report(phone.visit, [PACED]))
    await again.settled()
    assert phone.pushed == [1, 2]
    await away(again, phone)


@pytest_twisted.ensureDeferred
async def test_a_phone_that_never_says_its_sims_is_waited_for_a_moment_only(node, org, database):
    await set_pace(node, "*", TWO)
    phone = await node.come(None)
    await node.send(*[None] * 3)
    await node.settled()
    assert phone.pushed == []
    await pass_time(node, WITHIN)
    assert phone.pushed == [1, 2]
    assert await sql(database, "SELECT DISTINCT sim_key FROM sim_uses") == [("?:?",)]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_what_was_handed_out_counts_at_another_node_too(node, org, database):
    phone = await node.come(None, PACED)
    await node.send(*[None] * 5)
    await node.settled()
    assert phone.pushed == [1, 2]
    # The first node dies: nobody writes anything down.
    other = Node(database, node.clock, name="node-2", hashing=node.hashing)
    moved = await other.come(None, PACED)
    assert moved.pushed == []
    await pass_time(other, 60.1)
    await node.settled()
    assert moved.pushed + phone.pushed[2:] == [3, 4]
    await away(node, phone)
    await away(other, moved)


@pytest_twisted.ensureDeferred
async def test_two_nodes_that_have_the_sim_at_once_share_what_it_may(node, org, database):
    other = Node(database, node.clock, name="node-2", hashing=node.hashing)
    tight = Sim(slot=0, number="+1555", pace=Pace(max_per_minute=7))
    one = await node.come(None, tight, identity=Identity("a"))
    two = await other.come(None, tight, identity=Identity("b"))
    sends = [each.send(*["+1555"] * 5) for each in (node, other) * 3]
    await together(*sends)
    for each in (node, other):
        await each.feeding.poll()
        await each.settled()
    assert len(one.pushed) + len(two.pushed) == 7
    assert set(one.pushed).isdisjoint(two.pushed)
    await away(node, one)
    await away(other, two)


@pytest_twisted.ensureDeferred
async def test_what_never_reached_the_phone_is_given_back(node, org, database):
    phone = await node.come(RecordingPhone(), PACED)
    phone.writable = False
    await node.send(*[None] * 3)
    phone.writable = True
    with node.database.answers_held("claim in turn", most=1) as gate:
        node.feeding.wake({phone.visit})
        await soon(gate.reached)
        phone.writable = False
        node.attendance.end(phone.visit, "a test")
    await node.settled()
    assert await tickets(database) == {1: "queued", 2: "queued", 3: "queued"}
    assert await sql(database, "SELECT count(*) FROM sim_uses") == [(0,)]
    back = await node.come(None, PACED)
    assert back.pushed == [1, 2]
    await away(node, back)


@pytest_twisted.ensureDeferred
async def test_a_claim_whose_answer_was_lost_is_looked_up_and_counted_once(node, org, database):
    phone = await node.come(None, PACED)
    node.database.lose("claim in turn")
    await node.send(None, None, None)
    await node.settled()
    assert phone.pushed == [1, 2]
    assert await sql(database, "SELECT count(*) FROM sim_uses") == [(2,)]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_a_pace_that_is_lifted_lets_what_waits_go(node, org, database):
    await set_pace(node, "*", TWO)
    phone = await node.come(None, PLAIN)
    await node.send(*[None] * 4)
    await node.settled()
    await set_pace(node, "*", None)
    node.feeding.look_again(ORG)
    await node.settled()
    assert phone.pushed == [1, 2, 3, 4]
    assert [one.status for one in (await node.send(None)).results] == ["sending"]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_a_pace_that_another_node_heard_of_holds_within_seconds(node, org, database):
    phone = await node.come(None, PLAIN)
    await pacing.set_pace(database, ORG, "*", TWO)
    await node.upkeep.look_at_limits()
    await node.send(*[None] * 3)
    await node.settled()
    assert phone.pushed == [1, 2]
    await pacing.set_pace(database, ORG, "*", Pace(max_per_minute=3))
    await node.upkeep.look_at_limits()
    await node.feeding.poll()
    await node.settled()
    assert phone.pushed == [1, 2, 3]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_one_keys_crowd_does_not_starve_another_key(node, org, database):
    def key(name):
        return Caller(ORG, Key(ORG, name, ("send",)))

    async def send(who, number):
        drafts = [Draft(to="+15550001111", body="hi") for _ in range(number)]
        await soon(node.outbox.accept(who, drafts))

    await send(key("crowd"), 50)
    await send(key("one"), 1)
    await send(Caller(ORG), 1)
    tight = Sim(slot=0, number="+1555", pace=Pace(max_per_minute=1))
    phone = await node.come(None, tight)
    for _ in range(3):
        await pass_time(node, 60.1)
    assert sorted(phone.pushed) == [1, 2, 51, 52]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_results_and_dry_runs_say_before_when_a_ticket_cannot_go(node, org, database):
    burst = Sim(slot=0, number="+1555", pace=Pace(max_per_minute=2, windows=[Window(3, 3600)]))
    phone = await node.come(None, burst, OTHER)
    drafts = [Draft(to="+15550001111", body=body, sim=0) for body in ("a", "b", "c", LONG)]
    drafts.append(Draft(to="+15550001111", body="x", sim=1))
    told = await node.outbox.forecast(Caller(ORG), drafts)
    now = (await sql(database, "SELECT extract(epoch FROM clock_timestamp())::float"))[0][0]

    def waits_of(moments):
        return [at and round(datetime.fromisoformat(at).timestamp() - now) for at in moments]

    waits = waits_of(one.not_before for one in told.outlooks)
    assert waits == [None, None, 60, 3600, None]
    assert not any(one.taken_by for one in told.outlooks)
    accepted = await soon(node.outbox.accept(Caller(ORG), drafts))
    assert waits_of(one.not_before for one in accepted.results) == waits
    await node.settled()
    assert sorted(phone.pushed) == [1, 2, 5]
    assert [one.not_before and 1 for one in (await node.send(0)).results] == [1]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_sims_tell_what_each_paced_one_has_left_on_every_node(node, org, database):
    plain = {"slot": 1, "number": "+1666", "label": None, "carrier": None}
    phone = await node.come(None, PACED, OTHER)
    await upkeep_beats(node)
    await node.send("+1555", "+1555", "+1555")
    await node.settled()
    other = Node(database, node.clock, name="node-2", hashing=node.hashing)
    for each in (node, other):
        paced, unpaced = msgspec.json.decode(await soon(each.paces.sims(org)))["live_sims"]
        assert unpaced == plain
        assert paced["pace"]["windows"] == [{"segments": 2, "seconds": 60, "left": 0}]
        assert (paced["pace"]["left"], paced.keys() - plain.keys()) == (0, {"pace"})
        next_slot = paced["pace"]["next_slot"]
        assert datetime.fromisoformat(next_slot).utcoffset() == timedelta(0)
        assert next_slot.endswith("+00:00")
    own = await soon(node.paces.set(org, Wish.of(1), Pace(max_per_day=7)))
    assert own == {"slot:1": Pace(max_per_day=7)}
    _, slower = msgspec.json.decode(await soon(node.paces.sims(org)))["live_sims"]
    assert slower["pace"] == {
        "windows": [{"segments": 7, "seconds": 86400, "left": 7}],
        "left": 7,
        "next_slot": None,
    }
    await away(node, phone)


async def upkeep_beats(node: Node) -> None:
    """The node is known to be alive, so that its phones are shown."""
    await node.upkeep.beat()
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_sims_of_an_org_without_paces_are_passed_on_as_they_are(node, org, database):
    phone = await node.come(None, PLAIN)
    await upkeep_beats(node)
    (sim,) = msgspec.json.decode(await soon(node.paces.sims(org)))["live_sims"]
    assert sim.keys() == {"slot", "number", "label", "carrier"}
    assert "read_uses" not in node.database.run_names
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_with_more_than_its_window_a_phone_is_given_the_rest_as_it_reads(
    database, clock, hashing
):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=2, unanswered=100))
    await made_org(database)
    phone = await node.come(None, Sim(slot=0, pace=Pace(max_per_minute=5)))
    await node.send(*[None] * 7)
    await node.settled()
    assert phone.pushed == [1, 2]
    for _ in range(4):
        phone.visit.receipt(phone.mark)
        node.feeding.feed(phone.visit)
        await node.settled()
    assert phone.pushed == [1, 2, 3, 4, 5]
    await away(node, phone)


@pytest_twisted.ensureDeferred
async def test_while_the_database_is_away_nothing_is_lost_and_the_tick_tries_again(
    node, org, database
):
    phone = await node.come(None, PACED)
    node.database.fail("claim in turn", trouble.away())
    await node.send(None)
    await node.settled()
    assert phone.pushed == []
    node.feeding.tick()
    await node.settled()
    assert phone.pushed == [1]
    await away(node, phone)


def test_a_wheel_tells_each_once_at_its_last_moment_with_one_timer(clock):
    told = []
    wheel = Wheel(clock, told.append)
    wheel.after(5, "a")
    wheel.after(3, "b")
    wheel.after(9, "c")
    wheel.after(7, "a")
    wheel.drop("c")
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(3)
    assert told == ["b"]
    clock.advance(3.9)
    assert told == ["b"]
    clock.advance(0.1)
    assert told == ["b", "a"]
    assert clock.getDelayedCalls() == []
    for at in range(100):
        wheel.after(at, "often")
    assert len(wheel) == 1
    assert len(wheel._next) < 20
    wheel.stop()
    assert clock.getDelayedCalls() == []


def test_a_sims_own_words_survive_the_way_to_the_database(node):
    sims = msgspec.json.decode(msgspec.json.encode([PACED, PLAIN]))
    assert sims[0]["pace"] == {"max_per_minute": 2}
    assert "pace" not in sims[1]


@pytest.mark.parametrize("given", [None, {}], ids=["null", "nothing"])
def test_a_pace_of_nothing_is_none(given):
    sim = msgspec.convert({"slot": 0, "pace": given}, Sim)
    assert not sim.pace or not sim.pace.spans
