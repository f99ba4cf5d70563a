"""Who may claim an org, and what comes of two who try at once (contract section 1)."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import HOME, ORG, SECRET, STRANGER, WRONG, Node, made_org, soon, sql, together
from twisted.internet.defer import Deferred

from smsd.domain.credentials import Credentials
from smsd.domain.errors import GatewayFull, Invalid, TooMany, Unauthorised
from smsd.domain.records import Inbound
from smsd.gateway.doorman import Caller, ClaimPolicy, Newcomer
from smsd.store import messages, orgs
from smsd.store.trouble import DataRefused

OTHER = "secret-of-another"


def sms(text: str = "a private text", **more) -> Inbound:
    return Inbound(address="+15551112222", body=text, **more)


async def orgs_in(database) -> list[str]:
    return [org_id for (org_id,) in await sql(database, "SELECT org_id FROM orgs ORDER BY 1")]


@pytest_twisted.ensureDeferred
async def test_the_first_use_claims_an_org_and_the_second_is_recognised(node):
    newcomer = await node.ask(claim=True)
    assert isinstance(newcomer, Newcomer)
    assert await soon(node.doorman.claim(newcomer)) == (Caller(ORG), True)
    assert await node.ask() == Caller(ORG)
    assert await node.answer(WRONG) == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_an_unknown_org_is_refused_where_the_call_does_not_claim(node, database):
    assert await node.answer() == "Unauthorised"
    assert await orgs_in(database) == []
    assert await sql(database, "SELECT * FROM auth_failures") == []


@pytest_twisted.ensureDeferred
async def test_looking_at_an_unknown_org_leaves_nothing_behind(node, database):
    assert await node.answer(claim=True) == "Newcomer"
    assert await node.answer() == "Unauthorised"
    assert node.doorman._acquaintance._pages == {}
    assert await orgs_in(database) == []


@pytest.mark.parametrize(
    ("org_id", "secret", "at"),
    [
        (ORG, "too short", ["secret_key"]),
        (ORG, "x" * 51, ["secret_key"]),
        (ORG, " space-in-front", ["secret_key"]),
        ("no", SECRET, ["org_id"]),
        ("not/an/org", SECRET, ["org_id"]),
        (None, SECRET, ["org_id"]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_shape_is_explained_only_where_the_call_would_claim(node, org_id, secret, at):
    with pytest.raises(Invalid) as refused:
        await node.ask(secret, org_id=org_id, claim=True)
    assert [fault.loc for fault in refused.value.errors] == [at]
    assert await node.answer(secret, org_id=org_id) == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_a_wrong_shape_for_an_org_that_exists_is_a_wrong_secret_that_counts(node, database):
    await made_org(database)
    assert await node.answer("short", claim=True) == "Unauthorised"
    assert await sql(database, "SELECT count(*) FROM auth_failures") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_closed_gateways_refuse_every_claim(database, clock, hashing):
    node = Node(database, clock, hashing=hashing, claims=ClaimPolicy("closed"))
    assert await node.answer(claim=True) == "Unauthorised"
    assert await node.answer("short", claim=True) == "Unauthorised"
    assert await node.answer(claim=True, claim_token="anything") == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_a_claim_token_is_asked_for_where_the_operator_wants_one(database, clock, hashing):
    policy = ClaimPolicy("token", "secret-of-enrolment")
    node = Node(database, clock, hashing=hashing, claims=policy)
    assert await node.answer(claim=True) == "Unauthorised"
    assert await node.answer("short", claim=True, claim_token="no") == "Unauthorised"
    assert await node.answer(claim=True, claim_token="secret-of-enrolmen") == "Unauthorised"
    assert await node.answer(claim=True, claim_token="secret-of-enrolment") == "Newcomer"
    assert await node.answer("short", claim=True, claim_token="secret-of-enrolment") == "Invalid"
    assert "enrolment" not in repr(policy)


@pytest_twisted.ensureDeferred
async def test_a_policy_that_lost_its_token_admits_nobody(node):
    assert not ClaimPolicy("token").admits(None)
    assert not ClaimPolicy("token").admits("")
    assert not ClaimPolicy("closed", "secret-of-enrolment").admits("secret-of-enrolment")


@pytest_twisted.ensureDeferred
async def test_no_secret_is_refused_without_being_counted(node, database):
    await made_org(database)
    for claim in (False, True):
        assert await node.answer(None, claim=claim) == "Unauthorised"
        for org_id in ("unknown", "not/an/org", None):
            assert await node.answer(None, org_id=org_id, claim=claim) == "Unauthorised"
    assert await sql(database, "SELECT * FROM auth_failures") == []


@pytest_twisted.ensureDeferred
async def test_of_two_first_uses_with_one_secret_both_are_let_in_and_one_claims(node):
    first, second = await node.ask(claim=True), await node.ask(claim=True, address=STRANGER)
    outcomes = await together(node.doorman.claim(first), node.doorman.claim(second))
    assert sorted(outcomes, key=str) == [(Caller(ORG), False), (Caller(ORG), True)]


@pytest_twisted.ensureDeferred
async def test_of_two_first_uses_with_two_secrets_the_second_is_refused(node, database):
    first = await node.ask(claim=True)
    second = await node.ask(OTHER, claim=True, address=STRANGER)
    outcomes = await together(node.doorman.claim(first), node.doorman.claim(second))
    refused = [one for one in outcomes if isinstance(one, Unauthorised)]
    assert len(refused) == 1
    assert [one for one in outcomes if one not in refused] == [(Caller(ORG), True)]
    winner, loser = (SECRET, OTHER) if refused[0] is outcomes[1] else (OTHER, SECRET)
    assert await node.ask(winner) == Caller(ORG)
    assert await node.answer(loser) == "Unauthorised"
    assert await orgs_in(database) == [ORG]


@pytest_twisted.ensureDeferred
async def test_first_uses_on_two_nodes_make_one_org(database, clock, hashing):
    nodes = [Node(database, clock, name=f"n{n}", hashing=hashing) for n in range(2)]
    newcomers = [await node.ask(claim=True) for node in nodes]
    outcomes = await together(
        *(node.doorman.claim(who) for node, who in zip(nodes, newcomers, strict=True))
    )
    assert sorted(claimed for _, claimed in outcomes) == [False, True]


@pytest_twisted.ensureDeferred
async def test_who_was_not_first_is_checked_against_the_winner_and_not_against_an_old_answer(
    node, database
):
    """A look-up that began before the claim says that there is no such org; nobody who asks
    after the claim may be told so."""
    newcomer = await node.ask(claim=True)
    with node.database.answers_held("recall_address", most=1) as gate:
        early = Deferred.fromCoroutine(node.ask(claim=True))
        await soon(gate.reached)
        await made_org(database)
        late = Deferred.fromCoroutine(node.doorman.claim(newcomer))
        while not node.database.run_names["claim org"] or node.database.under_way > 1:
            await sql(database, "SELECT 1")
    assert await soon(late) == (Caller(ORG), False)
    assert isinstance(await early, Newcomer)


@pytest_twisted.ensureDeferred
async def test_an_org_is_claimed_in_the_same_commit_as_its_first_messages(node, database):
    newcomer = await node.ask(claim=True)
    assert await soon(node.inbox.store(newcomer, [sms("a private text 1"), sms()])) == 2
    rows = await sql(
        database,
        "SELECT m.id, o.xmin = m.xmin FROM messages AS m JOIN orgs AS o USING (org_id) ORDER BY 1",
    )
    assert rows == [(1, True), (2, True)]


@pytest_twisted.ensureDeferred
async def test_a_first_message_that_cannot_be_stored_claims_nothing(node, database):
    newcomer = await node.ask(claim=True)
    row = messages.arrived(ORG, sms())
    row.ord, row.status = 0, "sent"  # which the table refuses
    with pytest.raises(DataRefused):
        await soon(node.doorman.claim(newcomer, first=lambda tx: messages.append(tx, [row])))
    assert await orgs_in(database) == []
    assert await node.answer(OTHER, claim=True) == "Newcomer"


@pytest_twisted.ensureDeferred
async def test_who_lost_the_claim_stores_its_messages_all_the_same(node, database):
    newcomers = [await node.ask(claim=True, address=place) for place in (HOME, STRANGER)]
    stored = await together(*(node.inbox.store(who, [sms()]) for who in newcomers))
    assert stored == [1, 1]
    assert await sql(database, "SELECT count(*), count(DISTINCT id) FROM messages") == [(2, 2)]


@pytest_twisted.ensureDeferred
async def test_who_lost_the_claim_with_another_secret_stores_nothing(node, database):
    first = await node.ask(claim=True)
    second = await node.ask(OTHER, claim=True, address=STRANGER)
    stored = await together(*(node.inbox.store(who, [sms()]) for who in (first, second)))
    assert sorted(map(repr, stored)) == ["1", repr(Unauthorised())]
    assert await sql(database, "SELECT count(*) FROM messages") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_an_empty_webhook_claims_too(node, database):
    assert await soon(node.inbox.store(await node.ask(claim=True), [])) == 0
    assert await orgs_in(database) == [ORG]


@pytest_twisted.ensureDeferred
async def test_an_address_may_claim_only_so_often(database, clock, hashing):
    node = Node(database, clock, hashing=hashing, max_claims_per_hour=2)
    claims = [node.doorman.claim(Newcomer(Credentials(f"org-{n}", SECRET), HOME)) for n in range(4)]
    outcomes = await together(*claims)
    refused = [one for one in outcomes if isinstance(one, TooMany)]
    assert len(refused) == 2
    assert {one.retry_after for one in refused} == {3600}
    elsewhere = Newcomer(Credentials("org-elsewhere", SECRET), STRANGER)
    assert (await soon(node.doorman.claim(elsewhere)))[1]
    clock.advance(3600)
    assert (await soon(node.doorman.claim(Newcomer(Credentials("org-9", SECRET), HOME))))[1]


@pytest_twisted.ensureDeferred
async def test_a_claim_that_comes_too_late_does_not_count_as_one(database, clock, hashing):
    node = Node(database, clock, hashing=hashing, max_claims_per_hour=1)
    newcomer = await node.ask(claim=True)
    await made_org(database)
    assert await soon(node.doorman.claim(newcomer)) == (Caller(ORG), False)
    other = Newcomer(Credentials("org-other", SECRET), HOME)
    assert (await soon(node.doorman.claim(other)))[1]


# -- how many orgs there may be --


def held_to(database, clock, hashing, max_orgs, name="node-1") -> Node:
    return Node(database, clock, name=name, hashing=hashing, claims=ClaimPolicy(max_orgs=max_orgs))


@pytest_twisted.ensureDeferred
async def test_a_full_gateway_refuses_claims_and_orgs_that_exist_go_on(database, clock, hashing):
    node = held_to(database, clock, hashing, 2)
    for org_id in ("one", "two"):
        await soon(node.doorman.claim(await node.ask(org_id=org_id, claim=True)))
    newcomer = await node.ask(claim=True)
    with pytest.raises(GatewayFull) as refused:
        await soon(node.doorman.claim(newcomer))
    assert (refused.value.status, refused.value.close) == (429, 4429)
    assert "max_orgs: 2" in refused.value.detail
    assert node.database.run_names["claim org"] == 2
    assert await node.ask(org_id="one", claim=True) == Caller("one")
    node.doorman.renew(ClaimPolicy(max_orgs=3), max_failures_per_minute=0, max_claims_per_hour=0)
    assert await soon(node.doorman.claim(newcomer)) == (Caller(ORG), True)


@pytest_twisted.ensureDeferred
async def test_of_claims_at_once_on_two_nodes_just_so_many_win_as_may(database, clock, hashing):
    nodes = [held_to(database, clock, hashing, 3, f"node-{at}") for at in range(2)]

    async def claim(at):
        node = nodes[at % 2]
        return await node.doorman.claim(await node.ask(org_id=f"org-{at}", claim=True))

    outcomes = await together(*(claim(at) for at in range(8)))
    assert sum(isinstance(outcome, GatewayFull) for outcome in outcomes) == 5
    assert len(await orgs_in(database)) == 3


@pytest_twisted.ensureDeferred
async def test_messages_of_a_claim_that_is_one_too_many_are_not_stored(database, clock, hashing):
    node = held_to(database, clock, hashing, 1)
    first = await node.ask(claim=True)
    late = await node.ask(org_id="late", claim=True)
    await soon(node.doorman.claim(first))
    with pytest.raises(GatewayFull):
        await soon(node.inbox.store(late, [sms()]))
    assert await orgs_in(database) == [ORG]
    assert await sql(database, "SELECT * FROM messages") == []


@pytest_twisted.ensureDeferred
async def test_a_claim_waits_until_another_nodes_has_been_counted(database, clock, hashing):
    node, policy = held_to(database, clock, hashing, 1), ClaimPolicy(max_orgs=1)
    newcomer = await node.ask(claim=True)
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    async def on_another_node(tx):
        await policy.begin(tx)
        await orgs.create(tx, orgs.NewOrg("first", "no hash", b"", "", "nowhere"))
        await policy.count(tx)
        late = Deferred.fromCoroutine(node.doorman.claim(newcomer))
        while not late.called and await sql(tx, waits) == [(0,)]:
            pass
        return [late]

    (late,) = await soon(database.transaction("claim", on_another_node))
    with pytest.raises(GatewayFull):
        await soon(late)
    assert await orgs_in(database) == ["first"]
