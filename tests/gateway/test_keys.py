"""API keys: who makes them, what opens with them, when they end, what they may send."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import (
    HOME,
    ORG,
    PEPPER,
    SECRET,
    STRANGER,
    WRONG,
    Node,
    RecordingPhone,
    made_org,
    soon,
    sql,
    tickets,
    together,
)
from twisted.internet.defer import Deferred

from smsd.domain.allowance import Own
from smsd.domain.call_key import CallKey
from smsd.domain.credentials import Credentials
from smsd.domain.errors import (
    BudgetSpent,
    Invalid,
    KeysFull,
    MissingScope,
    Superseded,
    TooManySends,
    Unavailable,
    UnknownKey,
    WrongKey,
)
from smsd.domain.opt_outs import OptOuts
from smsd.domain.records import Draft, Inbound
from smsd.gateway.doorman import Caller
from smsd.gateway.rotation import Rotation
from smsd.gateway.visit import Identity
from smsd.store import keys as stored_keys
from smsd.store import limits
from smsd.store.keys import NewKey
from smsd.store.waiter import NotYetKnown

LONG = "x" * 161  # two segments


async def keeper(node, secret=SECRET):
    return await soon(rotation(node).keeper(Credentials(ORG, secret), HOME))


def rotation(node):
    return Rotation(node.database, node.doorman, PEPPER, node.hashing)


async def make(node, *scopes, **more):
    """A key as its maker sees it."""
    new = NewKey(name="one", scopes=scopes or ("send",), **more)
    return await soon(node.keys.make(await keeper(node), new))


async def opened(node, text, *scopes, org_id=ORG):
    """Whoever shows the key."""
    return await soon(node.doorman.open(org_id, text, scopes))


async def send(node, text, *bodies, to="+15550001111", org_id=ORG):
    caller = await opened(node, text, "send", org_id=org_id)
    drafts = [Draft(to=to, body=body) for body in bodies]
    return await soon(node.outbox.accept(caller, drafts, lone=len(drafts) == 1))


def another(database, clock, hashing):
    return Node(database, clock, name="node-2", hashing=hashing)


# -- made and opened -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_key_opens_its_own_org_for_what_it_is_good_for(node, database):
    await made_org(database)
    await made_org(database, "other")
    made = await make(node, "read", "send")
    caller = await opened(node, made.text, "read")
    assert (caller.org_id, caller.key.id) == (ORG, made.seen.id)
    with pytest.raises(WrongKey):
        await opened(node, made.text, "read", org_id="other")
    with pytest.raises(MissingScope, match="scope phone"):
        await opened(node, made.text, "phone")


@pytest_twisted.ensureDeferred
async def test_neither_the_key_nor_what_stands_for_it_is_kept_or_shown(node, database):
    await made_org(database)
    made = await make(node)
    ((row,),) = await sql(database, "SELECT k::text FROM api_keys AS k")
    assert made.text not in row
    assert made.text[5:] not in row
    assert made.text not in repr(made)
    assert made.text not in repr(await soon(node.keys.all(Caller(ORG))))


@pytest.mark.parametrize("text", ["smsd_", "smsd_short", "smsd_" + "x" * 43, "smsd_" + "\0" * 43])
@pytest_twisted.ensureDeferred
async def test_a_wrong_key_is_refused_and_counts_against_no_lock(node, database, text):
    await made_org(database)
    for _ in range(20):
        with pytest.raises(WrongKey):
            await opened(node, text, "read")
    assert await sql(database, "SELECT count(*) FROM auth_failures") == [(0,)]
    assert await node.answer(address=STRANGER) == "Caller"
    assert node.doorman.keyring._pages == {}


@pytest.mark.parametrize("org_id", [None, "no", "a\0b", "nobody", "x" * 100])
@pytest_twisted.ensureDeferred
async def test_a_key_without_an_org_that_exists_is_a_wrong_key(node, database, org_id):
    await made_org(database)
    made = await make(node)
    with pytest.raises(WrongKey):
        await opened(node, made.text, "send", org_id=org_id)


@pytest_twisted.ensureDeferred
async def test_a_lock_keeps_no_key_out(node, database):
    await made_org(database)
    made = await make(node)
    for number in range(10):
        assert await node.answer(f"{WRONG}{number:010}", STRANGER) == "Unauthorised"
    assert await node.answer(SECRET, STRANGER) == "Locked"
    assert (await opened(node, made.text, "send")).org_id == ORG


@pytest_twisted.ensureDeferred
async def test_what_is_known_is_asked_for_once_a_second(node, database, clock):
    await made_org(database)
    made = await make(node)
    for _ in range(5):
        await opened(node, made.text, "send")
    assert node.database.run_names["recall_keys"] == 1
    clock.advance(1.1)
    await opened(node, made.text, "send")
    assert node.database.run_names["recall_keys"] == 2


@pytest_twisted.ensureDeferred
async def test_many_that_ask_at_once_are_asked_for_together(node, database):
    await made_org(database)
    texts = [(await make(node)).text for _ in range(5)]
    callers = await together(*(node.doorman.open(ORG, text, ()) for text in texts * 3))
    assert {type(caller) for caller in callers} == {Caller}
    assert node.database.run_names["recall_keys"] <= 2


@pytest_twisted.ensureDeferred
async def test_its_use_is_noted_when_new_and_then_at_most_hourly(node, database, clock):
    await made_org(database)
    made = await make(node)
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).last_used_at is None
    for _ in range(3):
        await opened(node, made.text, "send")
        clock.advance(1.1)
    assert node.database.run_names["use_key"] == 1
    first = (await soon(node.keys.one(Caller(ORG), made.seen.id))).last_used_at
    assert first.endswith("+00:00")
    await sql(database, "UPDATE api_keys SET last_used_at = now() - interval '61 minutes'")
    await opened(node, made.text, "send")
    assert node.database.run_names["use_key"] == 2
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).last_used_at >= first


@pytest_twisted.ensureDeferred
async def test_a_secret_in_its_grace_makes_no_key(node, database):
    await made_org(database)
    old = await keeper(node)
    await soon(rotation(node).rotate(old, "secret-of-tomorrow", 60))
    with pytest.raises(Superseded, match="make keys with the present one"):
        await make(node)
    new = await keeper(node, "secret-of-tomorrow")
    await soon(node.keys.make(new, NewKey(name="one", scopes=("read",))))
    assert len(await soon(node.keys.all(Caller(ORG)))) == 1


@pytest_twisted.ensureDeferred
async def test_an_org_has_so_many_keys_and_no_more(node, database):
    await made_org(database)
    await sql(
        database,
        "INSERT INTO api_keys (org_id, key_id, hash, name, scopes)"
        " SELECT %(org)s, n, n::bytea, '', '{}'"
        " FROM (SELECT lpad(to_hex(n), 12, '0') AS n FROM generate_series(2, %(most)s) AS n) AS n",
        org=ORG,
        most=stored_keys.MOST,
    )
    made = await make(node)
    with pytest.raises(KeysFull):
        await make(node)
    await soon(node.keys.delete(Caller(ORG), made.seen.id))
    await make(node)


# -- ended -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_deleted_key_opens_nothing_here_at_once_and_elsewhere_within_a_second(
    node, database, clock, hashing
):
    await made_org(database)
    made = await make(node)
    other = another(database, clock, hashing)
    assert await opened(node, made.text, "send")
    assert await opened(other, made.text, "send")
    await soon(node.keys.delete(Caller(ORG), made.seen.id))
    with pytest.raises(WrongKey):
        await opened(node, made.text, "send")
    clock.advance(1.1)
    with pytest.raises(WrongKey):
        await opened(other, made.text, "send")


@pytest_twisted.ensureDeferred
async def test_what_was_asked_before_the_end_is_not_remembered_after_it(node, database):
    await made_org(database)
    made = await make(node)
    with node.database.answers_held("recall_keys") as gate:
        early = Deferred.fromCoroutine(node.doorman.open(ORG, made.text, ("send",)))
        await soon(gate.reached)
        await soon(node.keys.delete(Caller(ORG), made.seen.id))
    assert (await soon(early)).org_id == ORG
    with pytest.raises(WrongKey):
        await opened(node, made.text, "send")


@pytest_twisted.ensureDeferred
async def test_a_key_whose_deletion_lost_its_answer_is_asked_for_again(node, database):
    await made_org(database)
    made = await make(node)
    await opened(node, made.text, "send")
    node.database.lose("delete_key")
    with pytest.raises(Unavailable):
        await soon(node.keys.delete(Caller(ORG), made.seen.id))
    with pytest.raises(WrongKey):
        await opened(node, made.text, "send")


@pytest.mark.parametrize("key_id", ["", "unknown", "0" * 12, "\0" * 12])
@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_neither_shown_nor_deleted(node, database, key_id):
    await made_org(database)
    await make(node)
    for act in (node.keys.one, node.keys.delete):
        with pytest.raises(UnknownKey):
            await soon(act(Caller(ORG), key_id))


@pytest_twisted.ensureDeferred
async def test_the_key_of_another_org_is_not_there(node, database):
    await made_org(database)
    await made_org(database, "other")
    made = await make(node)
    for act in (node.keys.one, node.keys.delete):
        with pytest.raises(UnknownKey):
            await soon(act(Caller("other"), made.seen.id))
    assert await soon(node.keys.all(Caller("other"))) == []
    assert await opened(node, made.text, "send")


@pytest_twisted.ensureDeferred
async def test_a_key_ends_by_itself_also_while_it_is_remembered(node, database, clock):
    await made_org(database)
    made = await make(node, expires_in=1)
    times = made.seen.created_at, made.seen.expires_at
    assert [told[-6:] for told in times] == ["+00:00"] * 2
    await sql(database, "UPDATE api_keys SET expires_at = now() + interval '500 milliseconds'")
    await opened(node, made.text, "send")
    await sql(database, "UPDATE api_keys SET expires_at = now()")
    await opened(node, made.text, "send")
    clock.advance(0.6)
    with pytest.raises(WrongKey):
        await opened(node, made.text, "send")


@pytest_twisted.ensureDeferred
async def test_the_keys_of_a_closed_org_open_nothing(node, database):
    await made_org(database)
    made = await make(node)
    await sql(database, "UPDATE orgs SET pepper_id = 'closed'")
    with pytest.raises(WrongKey):
        await opened(node, made.text, "send")


@pytest_twisted.ensureDeferred
async def test_a_key_goes_with_its_org_and_so_does_what_it_spent(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=5)
    await send(node, made.text, "hi")
    await sql(database, "DELETE FROM orgs")
    for table in ("api_keys", "api_key_spending"):
        assert await sql(database, f"SELECT count(*) FROM {table}") == [(0,)]


# -- phones ----------------------------------------------------------------------------------


async def come_with(node, text, **identity):
    caller = await opened(node, text, "phone")
    phone = RecordingPhone()
    phone.visit = await soon(node.attendance.begin(caller, Identity(**identity), phone))
    node.attendance.serve(phone.visit)
    await node.settled()
    return phone


@pytest_twisted.ensureDeferred
async def test_a_lost_phone_is_shut_out_alone(node, database):
    await made_org(database)
    lost, kept = await make(node, "phone"), await make(node, "phone")
    phones = [await come_with(node, made.text) for made in (lost, kept)]
    phones.append(await node.come())
    await soon(node.keys.delete(Caller(ORG), lost.seen.id))
    await node.settled()
    assert [phone.closed for phone in phones] == [["wrong_key"], [], []]
    assert len(node.roster) == 2
    await node.keys.dismiss_ended()
    assert [phone.closed for phone in phones[1:]] == [[], []]


@pytest.mark.parametrize("how", ["DELETE FROM api_keys", "UPDATE api_keys SET expires_at = now()"])
@pytest_twisted.ensureDeferred
async def test_a_phone_goes_within_a_second_where_its_key_ended_elsewhere_or_by_itself(
    node, database, clock, how
):
    await made_org(database)
    phone = await come_with(node, (await make(node, "phone")).text)
    node.upkeep.start()
    await sql(database, how)
    clock.advance(1)
    await node.settled()
    node.upkeep.stop()
    assert phone.closed == ["wrong_key"]
    assert node.roster.keyed == set()


@pytest_twisted.ensureDeferred
async def test_without_a_phone_that_holds_a_key_nothing_is_asked(node, database):
    await made_org(database)
    await node.come()
    gone = await come_with(node, (await make(node, "phone")).text)
    await node.leave(gone)
    await node.keys.dismiss_ended()
    assert node.database.run_names["ended_keys"] == 0


# -- bounds ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_key_sends_to_whom_it_may_and_a_refusal_names_each_other_number(node, database):
    await made_org(database)
    made = await make(node, to_prefixes=("+1555", "+4420"))
    await send(node, made.text, "hi", to="+1 (555) 000-1111")
    with pytest.raises(Invalid, match="This API key") as refused:
        await send(node, made.text, "hi", to="+15660001111")
    assert [fault.loc for fault in refused.value.errors] == [["to"]]
    assert refused.value.errors[0].msg == "must begin with one of: +1555, +4420"
    with pytest.raises(Invalid) as refused:
        await send(node, made.text, "a", "b", to="15550001111")
    assert [fault.loc for fault in refused.value.errors] == [
        ["messages", 0, "to"],
        ["messages", 1, "to"],
    ]
    assert len(await tickets(database)) == 1


@pytest_twisted.ensureDeferred
async def test_a_budget_counts_segments_and_a_call_beyond_it_stores_and_spends_nothing(
    node, database
):
    await made_org(database)
    made = await make(node, segments_a_day=5)
    await send(node, made.text, "hi", LONG)
    with pytest.raises(
        BudgetSpent, match=r"5 segments a day \(UTC\): 2 are left, .* has 3"
    ) as spent:
        await send(node, made.text, "hi", LONG)
    assert 0 < spent.value.retry_after <= 86_400
    await send(node, made.text, LONG)
    assert len(await tickets(database)) == 3
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today == 5
    with pytest.raises(BudgetSpent, match="0 are left"):
        await send(node, made.text, "hi")


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_larger_than_the_whole_budget_is_refused(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=2)
    with pytest.raises(BudgetSpent, match="2 are left"):
        await send(node, made.text, "a", "b", "c")
    assert await tickets(database) == {}


@pytest_twisted.ensureDeferred
async def test_a_new_day_has_a_new_budget(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=2)
    await send(node, made.text, "a", "b")
    await sql(database, "UPDATE api_key_spending SET day = day - 1")
    await send(node, made.text, "a")
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today == 1


@pytest_twisted.ensureDeferred
async def test_two_nodes_together_never_exceed_a_budget(node, database, clock, hashing):
    await made_org(database)
    made = await make(node, segments_a_day=7)
    other = another(database, clock, hashing)
    calls = [send(where, made.text, "a", "b") for where in (node, other) * 6]
    outcomes = await together(*calls)
    names = sorted(type(outcome).__name__ for outcome in outcomes)
    assert names == ["Accepted"] * 3 + ["BudgetSpent"] * 9
    assert len(await tickets(database)) == 6


@pytest_twisted.ensureDeferred
async def test_what_is_surely_not_stored_is_given_back(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=2)
    node.database.fail("append_messages", Unavailable())
    with pytest.raises(Unavailable):
        await send(node, made.text, "a", "b")
    await send(node, made.text, "a", "b")
    assert len(await tickets(database)) == 2


@pytest_twisted.ensureDeferred
async def test_what_may_be_stored_stays_spent(node, database, clock):
    await made_org(database)
    made = await make(node, segments_a_day=2)
    node.database.lose("append_messages")
    node.database.fail("look up a batch", Unavailable())
    with pytest.raises(NotYetKnown):
        await send(node, made.text, "a", "b")
    clock.advance(1)
    await node.settled()
    assert len(await tickets(database)) == 2
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today == 2


@pytest_twisted.ensureDeferred
async def test_what_failed_at_once_for_an_opt_out_stays_spent(node, database):
    await made_org(database)
    await soon(node.consent.set_how(Caller(ORG), OptOuts(scope="org")))
    await soon(node.inbox.store(Caller(ORG), [Inbound(address="+15550001111", body="STOP")]))
    made = await make(node, segments_a_day=2)
    accepted = await send(node, made.text, "a")
    assert accepted.results[0].error == "opted_out"
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today == 1
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_a_key_that_was_deleted_meanwhile_spends_nothing(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=2)
    await opened(node, made.text, "send")
    await sql(database, "DELETE FROM api_keys")
    with pytest.raises(WrongKey):
        await send(node, made.text, "a")
    assert await tickets(database) == {}


@pytest_twisted.ensureDeferred
async def test_a_key_without_a_budget_and_a_secret_ask_for_none(node, database):
    await made_org(database)
    made = await make(node)
    await send(node, made.text, "a")
    await node.send()
    assert node.database.run_names["spend_segments"] == 0
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today is None


@pytest_twisted.ensureDeferred
async def test_what_an_org_may_holds_for_its_keys_too(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=9)

    def two_a_minute(_: Own) -> Own:
        return Own(max_sends_per_minute=2)

    await soon(limits.change(database, ORG, two_a_minute))
    await send(node, made.text, "a", "b")
    with pytest.raises(TooManySends):
        await send(node, made.text, "c")
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today == 2


@pytest_twisted.ensureDeferred
async def test_a_dry_run_says_to_whom_a_key_may_not_send_and_spends_nothing(node, database):
    await made_org(database)
    made = await make(node, to_prefixes=("+1555",), segments_a_day=2)
    caller = await opened(node, made.text, "send")
    await node.outbox.forecast(caller, [Draft(to="+15550001111", body=LONG)])
    with pytest.raises(Invalid, match="This API key"):
        await node.outbox.forecast(caller, [Draft(to="+15660001111", body="hi")])
    assert node.database.run_names["spend_segments"] == 0


@pytest_twisted.ensureDeferred
async def test_a_dry_run_says_that_a_budget_does_not_suffice(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=3)
    caller = await opened(node, made.text, "send")
    await send(node, made.text, "hi", "hi")
    await node.outbox.forecast(caller, [Draft(to="+15550001111", body="hi")])
    with pytest.raises(BudgetSpent, match="1 are left, and this call has 2") as spent:
        await node.outbox.forecast(caller, [Draft(to="+15550001111", body=LONG)])
    assert 0 < spent.value.retry_after <= 86_400
    await send(node, made.text, "hi")


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_repeated_under_its_own_key_spends_once(node, database):
    await made_org(database)
    made = await make(node, segments_a_day=2)
    caller, again = await opened(node, made.text, "send"), CallKey("once", "0" * 64)
    drafts = [Draft(to="+15550001111", body=LONG)]
    first = await soon(node.outbox.accept_once(caller, drafts, again))
    second = await soon(node.outbox.accept_once(caller, drafts, again))
    assert (first.replayed, second.replayed) == (False, True)
    assert [ticket.id for ticket in second.results] == [ticket.id for ticket in first.results]
    assert (await soon(node.keys.one(Caller(ORG), made.seen.id))).segments_today == 2
