"""A number that says STOP is sent nothing more, whenever and wherever its ticket is by then."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets
from twisted.internet.defer import Deferred

from smsd.domain.opt_outs import BLANKS, WORDS, OptOuts, Scope
from smsd.domain.pacing import Pace
from smsd.domain.records import Draft, Inbound, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.visit import Identity
from smsd.store import erasure, opt_outs, pacing

THEM, OTHERS = "+15550001111", "+15550002222"
ONE, TWO = Sim(slot=0, number="+1777"), Sim(slot=1, number="+1888")
ANSWERS = {"stopped": "You are out.", "started": "You are in.", "help": "Ask."}


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def keep(node: Node, scope: Scope | None = "org", **answers: str) -> None:
    how = None if scope is None else OptOuts(scope=scope, **answers)
    await soon(node.consent.set_how(Caller(ORG), how))


async def hear(node: Node, *texts: str, address: str = THEM, number: str | None = None) -> None:
    """SMS arrive, in one commit; what follows from them is done."""
    sms = [Inbound(address=address, body=text, sim_number=number) for text in texts]
    await soon(node.inbox.store(Caller(ORG), sms))
    await node.settled()


async def send(node: Node, to: str = THEM, sim: str | None = None) -> str:
    accepted = await soon(node.outbox.accept(Caller(ORG), [Draft(to=to, body="hi", sim=sim)]))
    return accepted.results[0].status


async def listed(node: Node) -> list[tuple[str, str, str | None]]:
    found = await soon(opt_outs.listed(node.database, ORG, most=10))
    return [(one.address, one.sim, one.word) for one in found]


async def ended(database) -> list[tuple[int, str, str, int]]:
    return await sql(
        database,
        "SELECT id, status, error, attempts FROM messages WHERE error IS NOT NULL ORDER BY id",
    )


@pytest.mark.parametrize(
    "text",
    [*(w for w, d in WORDS.items() if d == "stopped"), " sToP \r\n", f"{BLANKS}Stop{BLANKS[::-1]}"],
)
@pytest_twisted.ensureDeferred
async def test_every_such_word_blocks_its_number_alone_at_once(node, org, database, text):
    await keep(node)
    phone = await node.come(None, ONE)
    await hear(node, text)
    assert await listed(node) == [(THEM, "", text.strip(BLANKS).upper())]
    assert [await send(node), await send(node, OTHERS)] == ["failed", "sending"]
    assert await ended(database) == [(2, "failed", "opted_out", 0)]
    assert phone.pushed == [3]


@pytest.mark.parametrize("text", ["STOP it", "please stop", "STOP.", "", "STOPP", "ST OP"])
@pytest_twisted.ensureDeferred
async def test_a_word_within_a_text_blocks_nobody(node, org, text):
    await keep(node)
    await hear(node, text)
    assert await listed(node) == []
    assert await send(node) == "queued"


@pytest_twisted.ensureDeferred
async def test_an_org_that_does_not_keep_to_it_asks_nothing_more_and_blocks_nobody(node, org):
    await node.come(None, ONE)
    before = node.database.run_names.copy()
    await hear(node, "STOP")
    assert await send(node) == "sending"
    asked = node.database.run_names - before
    assert asked == {"append_messages": 2}
    assert await listed(node) == []


@pytest_twisted.ensureDeferred
async def test_what_waits_when_the_stop_comes_ends_when_it_would_be_claimed(node, org, database):
    await keep(node)
    for to in (THEM, OTHERS, THEM):
        assert await send(node, to) == "queued"
    await hear(node, "STOP")
    phone = await node.come(None, ONE)
    assert phone.pushed == [2]
    assert [one[:3] for one in await ended(database)] == [
        (1, "failed", "opted_out"),
        (3, "failed", "opted_out"),
    ]


@pytest_twisted.ensureDeferred
async def test_refused_tickets_at_the_head_hold_nobody_up(node, org):
    await keep(node)
    many = [Draft(to=THEM, body="hi")] * 300 + [Draft(to=OTHERS, body="hi")]
    await soon(node.outbox.accept(Caller(ORG), many))
    await hear(node, "STOP")
    phone = await node.come(None, ONE)
    assert phone.pushed == [301]


@pytest_twisted.ensureDeferred
async def test_a_paced_sim_refuses_them_too_and_counts_none(node, org, database):
    await keep(node)
    own = await pacing.set_pace(node.database, ORG, "*", Pace(max_per_minute=2))
    node.allowances.learn(ORG, own)
    for to in (THEM, THEM, OTHERS, OTHERS):
        await send(node, to)
    await hear(node, "STOP")
    phone = await node.come(None, ONE)
    assert phone.pushed == [3, 4]
    assert [one[:3] for one in await ended(database)] == [
        (1, "failed", "opted_out"),
        (2, "failed", "opted_out"),
    ]
    assert await sql(database, "SELECT message_id FROM sim_uses ORDER BY 1") == [(3,), (4,)]
    await node.leave(phone)
    node.feeding.close()


@pytest_twisted.ensureDeferred
async def test_what_would_be_pushed_again_is_not(node, org, database):
    await keep(node)
    phone = await node.come(None, ONE, identity=Identity("pixel", keeps_ledger=True))
    assert await send(node) == "sending"
    await node.leave(phone)
    await hear(node, "STOP")
    again = await node.come(None, ONE, identity=Identity("pixel", keeps_ledger=True))
    assert again.pushed == []
    assert await ended(database) == [(1, "failed", "opted_out", 1)]
    assert await node.result(again.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent"}


@pytest_twisted.ensureDeferred
async def test_a_stop_that_is_stored_while_a_ticket_waits_to_be_is_seen_before_the_push(
    node, org, database
):
    """The ticket's statement began before, and waits for the org's counter with its old view."""
    await keep(node)
    phone = await node.come(None, ONE)
    with node.database.answers_held("append_messages", 1) as gate:
        drafts = [Draft(to=THEM, body="hi")]
        waiting = Deferred.fromCoroutine(node.outbox.accept(Caller(ORG), drafts))
        await soon(gate.reached)
        # Stored, and its answer is under way: as if the STOP had been a moment quicker.
        await soon(opt_outs.add(database, ORG, "15550001111", THEM))
        gate.open()
        accepted = await soon(waiting)
    assert accepted.results[0].status == "failed"
    assert phone.pushed == []
    assert await ended(database) == [(1, "failed", "opted_out", 0)]
    assert await send(node, OTHERS) == "sending"


@pytest_twisted.ensureDeferred
async def test_start_lifts_it_and_the_last_word_of_several_counts(node, org):
    await keep(node)
    await hear(node, "STOP", "start")
    assert await listed(node) == []
    await hear(node, "START", "STOP")
    assert [one[0] for one in await listed(node)] == [THEM]
    await hear(node, "unstop")
    assert await listed(node) == []
    assert await send(node) == "queued"


@pytest_twisted.ensureDeferred
async def test_a_stop_that_is_handed_in_again_after_a_start_is_not_heard_twice(node, org):
    await keep(node)
    stop = Inbound(address=THEM, body="STOP", id="7")
    await soon(node.inbox.store(Caller(ORG), [stop]))
    await hear(node, "START")
    await soon(node.inbox.store(Caller(ORG), [stop]))
    assert await listed(node) == []


@pytest_twisted.ensureDeferred
async def test_of_a_sim_it_holds_for_that_sim_alone(node, org, database):
    await keep(node, "sim")
    await hear(node, "STOP", number="+1777")
    phone = await node.come(None, ONE, TWO)
    assert await send(node, sim="+1777") == "failed"
    assert await send(node, sim="+1888") == "sending"
    assert phone.pushed == [3]
    await hear(node, "START", number="+1888")
    assert [one[1] for one in await listed(node)] == ["1777"]
    await hear(node, "START", number="+1777")
    assert await listed(node) == []


@pytest_twisted.ensureDeferred
async def test_of_a_sim_a_ticket_for_anyone_ends_where_that_sim_would_take_it(node, org, database):
    await keep(node, "sim")
    assert await send(node) == "queued"
    await hear(node, "STOP", number="+1777")
    assert await send(node) == "queued"
    phone = await node.come(None, ONE)
    assert phone.pushed == []
    assert [one[2] for one in await ended(database)] == ["opted_out", "opted_out"]


@pytest_twisted.ensureDeferred
async def test_what_the_org_writes_down_and_lifts_itself_counts_as_well(node, org):
    await keep(node)
    caller = Caller(ORG)
    assert [one.word for one in await soon(node.consent.add(caller, "+1 (555) 000-1111"))] == [None]
    assert await send(node) == "failed"
    assert await soon(node.consent.lift(caller, THEM))
    assert not await soon(node.consent.lift(caller, THEM))
    assert await send(node) == "queued"


@pytest_twisted.ensureDeferred
async def test_the_block_outlives_what_is_forgotten_of_a_number_but_not_its_org(
    node, org, database
):
    await keep(node, **ANSWERS)
    await hear(node, "STOP")
    await soon(node.archive.forget(Caller(ORG), THEM))
    assert [one[0] for one in await listed(node)] == [THEM]
    assert await sql(database, "SELECT * FROM opt_out_answers") == []
    await sql(database, "UPDATE orgs SET pepper_id = 'closed'")
    await soon(erasure.erase(database, ORG))
    assert await soon(erasure.delete_org(database, ORG))
    assert await listed(node) == []
    assert await sql(database, "SELECT opt_out_scope FROM org_counters") == [(None,)]


async def answered(database) -> list[tuple[str, str, str, int]]:
    return await sql(
        database,
        "SELECT status, body, sim_key, answers FROM messages WHERE answers IS NOT NULL ORDER BY id",
    )


@pytest_twisted.ensureDeferred
async def test_words_are_answered_once_by_the_sim_that_heard_them(node, org, database):
    await keep(node, **ANSWERS)
    phone = await node.come(None, ONE, TWO)
    await hear(node, "STOP", number="+1888")
    assert await answered(database) == [("sending", "You are out.", "1888", 1)]
    assert phone.pushed == [2]
    await hear(node, "STOP", number="+1888")
    await hear(node, "START", number="+1888")
    await hear(node, "START", number="+1888")
    await hear(node, "HELP", number="+1888")
    await hear(node, "HELP", number="+1888")
    assert [text for _, text, _, _ in await answered(database)] == [
        "You are out.",
        "You are in.",
        "Ask.",
    ]


@pytest_twisted.ensureDeferred
async def test_two_gateways_cannot_talk_to_each_other_for_ever(node, org, database):
    await keep(node, **ANSWERS)
    for _ in range(5):
        await hear(node, "STOP")
        await hear(node, "START")
        await hear(node, "HELP")
    assert len(await answered(database)) == 3
    await sql(database, "UPDATE opt_out_answers SET at = at - interval '61 minutes'")
    await hear(node, "HELP")
    assert len(await answered(database)) == 4


@pytest_twisted.ensureDeferred
async def test_no_text_is_no_answer_and_a_name_cannot_be_answered(node, org, database):
    await keep(node, stopped="You are out.")
    await hear(node, "HELP")
    await hear(node, "STOP", address="SHOP")
    assert [one[0] for one in await listed(node)] == ["SHOP"]
    assert await answered(database) == []
    assert await sql(database, "SELECT 1 FROM opt_out_answers WHERE NOT answered") == []


@pytest_twisted.ensureDeferred
async def test_an_answer_that_a_dead_node_owed_is_given_by_the_sweep_once(node, org, database):
    await keep(node, **ANSWERS)
    with node.database.held("answer opt-outs"):
        await soon(node.inbox.store(Caller(ORG), [Inbound(address=THEM, body="STOP")]))
        other = Node(database, node.clock, name="node-2")
        await soon(other.confirmations.sweep())
    await node.settled()
    await soon(node.confirmations.sweep())
    assert await answered(database) == [("queued", "You are out.", "*", 1)]
