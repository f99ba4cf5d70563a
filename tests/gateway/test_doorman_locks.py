"""Wrong secrets are counted, and lock strangers out (contract section 1, "lock")."""

from __future__ import annotations

from collections import Counter

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
    made_org,
    middle,
    soon,
    sql,
    together,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smsd.domain.errors import Locked, TooMany, Unauthorised, Unavailable
from smsd.domain.pepper import Pepper
from smsd.gateway.doorman import Caller
from smsd.gateway.hashing import Hashing
from smsd.gateway.neighbourhood import neighbourhood
from smsd.store import orgs

LOCK = 300


async def guess(node, times: int, address: str = STRANGER) -> list[str]:
    """What a guesser is told, one guess after another."""
    return [await node.answer(f"{WRONG}{n}", address) for n in range(times)]


async def failures(database) -> int:
    ((counted,),) = await sql(database, "SELECT count(*) FROM auth_failures")
    return counted


async def time_passes(database, clock, seconds: int) -> None:
    """Make everything that the database remembers so much older."""
    for column, table in (
        ("failed_at", "auth_failures"),
        ("locked_until", "org_locks"),
        ("right_at", "known_addresses"),
        ("failed_at", "known_addresses"),
    ):
        older = f"UPDATE {table} SET {column} = {column} - make_interval(secs => %(by)s)"
        await sql(database, older, by=seconds)
    clock.advance(2)


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


@pytest_twisted.ensureDeferred
async def test_the_tenth_wrong_secret_is_unauthorised_and_from_then_on_all_are_locked_out(
    node, org
):
    assert await guess(node, 11) == ["Unauthorised"] * 10 + ["Locked"]
    with pytest.raises(Locked) as locked:
        await node.ask(SECRET, STRANGER)
    assert LOCK - 5 <= locked.value.retry_after <= LOCK


@pytest_twisted.ensureDeferred
async def test_failures_of_all_addresses_count_together(node, org):
    told = [await node.answer(WRONG, f"203.0.113.{n}") for n in range(11)]
    assert told == ["Unauthorised"] * 10 + ["Locked"]


@pytest_twisted.ensureDeferred
async def test_no_other_org_notices_a_lock(node, org, database):
    await made_org(database, "other-org")
    await guess(node, 11)
    assert await node.ask(SECRET, STRANGER, "other-org") == Caller("other-org")


@pytest_twisted.ensureDeferred
async def test_attempts_during_a_lock_neither_count_nor_extend_it(node, org, database, clock):
    await guess(node, 10)
    until = await sql(database, "SELECT locked_until FROM org_locks")
    clock.advance(2)
    assert await guess(node, 30) == ["Locked"] * 30
    assert await failures(database) == 10
    assert await sql(database, "SELECT locked_until FROM org_locks") == until


@pytest_twisted.ensureDeferred
async def test_a_guesser_who_goes_on_costs_the_database_nothing(node, org):
    await guess(node, 11)
    node.database.run_names.clear()
    assert await guess(node, 300) == ["Locked"] * 300
    assert node.database.run_names.total() <= 1


@pytest_twisted.ensureDeferred
async def test_the_lock_ends_by_the_clock_of_the_database(node, org, database, clock):
    await guess(node, 10)
    clock.advance(LOCK * 2)
    assert await node.answer(SECRET) == "Locked"
    await time_passes(database, clock, LOCK - 10)
    assert await node.answer(SECRET) == "Locked"
    await time_passes(database, clock, 11)
    assert await node.answer(SECRET) == "Caller"


@pytest_twisted.ensureDeferred
async def test_after_a_lock_the_count_starts_anew(node, org, database, clock):
    await guess(node, 10)
    await time_passes(database, clock, LOCK + 1)
    assert await guess(node, 11) == ["Unauthorised"] * 10 + ["Locked"]


@pytest_twisted.ensureDeferred
async def test_failures_older_than_fifteen_minutes_do_not_count(node, org, database, clock):
    await guess(node, 9)
    await time_passes(database, clock, 899)
    assert await guess(node, 1) == ["Unauthorised"]
    assert await guess(node, 1) == ["Locked"]
    await sql(database, "DELETE FROM auth_failures")
    await sql(database, "DELETE FROM org_locks")
    clock.advance(2)
    await guess(node, 9)
    await time_passes(database, clock, 901)
    assert await guess(node, 9) == ["Unauthorised"] * 9
    assert await node.answer(SECRET) == "Caller"


@pytest_twisted.ensureDeferred
async def test_a_right_secret_forgets_the_failures_of_its_own_address_only(node, org, database):
    await guess(node, 5, HOME)
    await guess(node, 4, STRANGER)
    assert await node.answer(SECRET, HOME) == "Caller"
    assert await sql(database, "SELECT address, count(*) FROM auth_failures GROUP BY address") == [
        (STRANGER, 4)
    ]


@pytest_twisted.ensureDeferred
async def test_a_right_secret_as_tenth_attempt_does_not_lock(node, org, database):
    await guess(node, 9)
    assert await node.answer(SECRET, HOME) == "Caller"
    assert await node.answer(SECRET, "192.0.2.77") == "Caller"
    assert await failures(database) == 9
    assert await guess(node, 2) == ["Unauthorised", "Locked"]


@pytest_twisted.ensureDeferred
async def test_a_known_address_is_let_in_during_a_lock_and_a_stranger_is_not(node, org, clock):
    assert await node.answer(SECRET, HOME) == "Caller"
    assert (await guess(node, 11))[-1] == "Locked"
    for _ in range(3):
        clock.advance(2)
        assert await node.answer(SECRET, HOME) == "Caller"
        assert await node.answer(SECRET, STRANGER) == "Locked"
        assert await node.answer(SECRET, "192.0.2.2") == "Locked"
    assert await node.answer(WRONG, HOME) == "Locked"


@pytest_twisted.ensureDeferred
async def test_an_address_that_has_failed_since_is_a_stranger(node, org, clock):
    assert await node.answer(SECRET, HOME) == "Caller"
    await guess(node, 1, HOME)
    await guess(node, 9)
    assert await node.answer(SECRET, HOME) == "Locked"


@pytest_twisted.ensureDeferred
async def test_an_address_is_known_for_a_day(node, org, database, clock):
    assert await node.answer(SECRET, HOME) == "Caller"
    await time_passes(database, clock, 86_400 - 60)
    await guess(node, 10)
    assert await node.answer(SECRET, HOME) == "Caller", "and this counts as another day"
    await time_passes(database, clock, 86_400 + 60)
    await guess(node, 10)
    assert await node.answer(SECRET, HOME) == "Locked"


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_used_all_day_stays_known(node, org, database, clock):
    assert await node.answer(SECRET, HOME) == "Caller"
    node.database.run_names.clear()
    for _ in range(30):
        await time_passes(database, clock, 3_000)
        assert await node.answer(SECRET, HOME) == "Caller"
    assert 10 <= node.database.run_names["know_address"] <= 20, "noted about hourly"
    await guess(node, 10)
    assert await node.answer(SECRET, HOME) == "Caller"


@pytest_twisted.ensureDeferred
async def test_an_address_is_known_for_the_very_secret_that_was_right_from_it(
    node, org, database, clock
):
    assert await node.answer(SECRET, HOME) == "Caller"
    rotated = PEPPER.seal(ORG, "secret-of-after")
    await sql(database, "UPDATE orgs SET secret_hmac = %(hmac)s", hmac=rotated)
    await guess(node, 10)
    clock.advance(2)
    assert await node.answer("secret-of-after", HOME) == "Locked"
    assert await node.answer(SECRET, HOME) == "Locked"


@pytest_twisted.ensureDeferred
async def test_one_network_of_ipv6_is_one_address(node, org):
    assert await node.answer(SECRET, "2001:db8:0:1::1") == "Caller"
    await guess(node, 10)
    assert await node.answer(SECRET, "2001:db8:0:1:ffff::2") == "Caller"
    assert await node.answer(SECRET, "2001:db8:0:2::1") == "Locked"


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a unix socket", "a unix socket"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address, counts_as):
    assert neighbourhood(address) == counts_as


@pytest_twisted.ensureDeferred
async def test_a_lock_holds_across_restarts(node, org, database, clock, hashing):
    await guess(node, 10)
    again = Node(database, clock, hashing=hashing)
    assert await again.answer(SECRET) == "Locked"


@pytest_twisted.ensureDeferred
async def test_another_node_sees_a_lock_within_a_second(node, org, database, clock, hashing):
    other = Node(database, clock, name="node-2", hashing=hashing)
    assert await other.answer(SECRET, HOME) == "Caller"
    assert await other.answer(WRONG, STRANGER) == "Unauthorised"
    await guess(node, 10)
    clock.advance(1)
    assert await other.answer(SECRET, STRANGER) == "Locked"
    assert await other.answer(SECRET, HOME) == "Caller"


@pytest_twisted.ensureDeferred
async def test_failures_on_two_nodes_count_together(node, org, database, clock, hashing):
    other = Node(database, clock, name="node-2", hashing=hashing)
    told = await together(
        *(n.answer(f"{WRONG}{i}", STRANGER) for i in range(20) for n in (node, other))
    )
    assert Counter(told) == {"Unauthorised": 10, "Locked": 30}
    assert await failures(database) == 10


@pytest_twisted.ensureDeferred
async def test_guesses_made_at_once_cannot_beat_the_count(node, org, database):
    guesses = [f"{WRONG}{n}" for n in range(100)]
    guesses[60] = SECRET
    told = await together(*(node.answer(secret, STRANGER) for secret in guesses))
    assert Counter(told) == {"Unauthorised": 10, "Locked": 90}
    assert told[60] == "Locked", "the right one among the later ones is refused"
    assert node.database.run_names["find_org"] == 10, "verified"
    assert await failures(database) == 10


@pytest_twisted.ensureDeferred
async def test_guesses_made_at_once_from_many_addresses_cannot_beat_the_count(node, org):
    told = await together(*(node.answer(WRONG, f"203.0.113.{n}") for n in range(100)))
    assert Counter(told) == {"Unauthorised": 10, "Locked": 90}


@pytest_twisted.ensureDeferred
async def test_more_attempts_at_once_than_can_wait_are_sent_away(node, org):
    with node.database.held("reserve failure", most=1) as gate:
        waiting = Deferred.fromCoroutine(
            together(*(node.answer(WRONG, STRANGER) for _ in range(105)))
        )
        await soon(gate.reached)
    assert Counter(await waiting) == {"Unauthorised": 10, "Locked": 91, "TooMany": 4}


@pytest_twisted.ensureDeferred
async def test_an_owner_who_reads_is_never_refused_while_a_stranger_guesses(
    node, org, database, clock
):
    """Issue 2 asks for this one: a guesser at one address, the owner once a second at another."""
    assert await node.answer(SECRET, HOME) == "Caller"
    node.database.run_names.clear()
    told: Counter[str] = Counter()
    for second in range(30):
        guessing = [node.answer(f"{WRONG}{second}-{n}", STRANGER) for n in range(10)]
        owner, *others = await together(node.answer(SECRET, HOME), *guessing)
        assert owner == "Caller"
        told.update(others)
        clock.advance(1)
    assert told == {"Unauthorised": 10, "Locked": 290}
    assert node.database.run_names["find_org"] == 10, "verified"


@pytest_twisted.ensureDeferred
async def test_an_attempt_that_the_database_cut_short_is_counted_and_not_a_way_in(
    node, org, database
):
    node.database.fail("find_org", Unavailable())
    assert await node.answer(SECRET, STRANGER) == "Unavailable"
    assert await failures(database) == 1
    assert await node.answer(SECRET, STRANGER) == "Caller"
    assert await failures(database) == 0


# -- peppers and rotation ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_changed_pepper_asks_argon2_once_and_then_decides_alone(
    node, database, clock, hashing
):
    await soon(node.doorman.claim(await node.ask(claim=True)))
    fresh = Pepper(b"another pepper of the tests")
    asked = Node(database, clock, hashing=hashing, pepper=fresh)
    assert await asked.answer(WRONG, STRANGER) == "Unauthorised"
    assert (await sql(database, "SELECT pepper_id FROM orgs")) == [(PEPPER.id,)]
    assert await asked.answer(SECRET, HOME) == "Caller"
    ((hmac, pepper_id),) = await sql(database, "SELECT secret_hmac, pepper_id FROM orgs")
    assert (bytes(hmac), pepper_id) == (fresh.seal(ORG, SECRET), fresh.id)
    asked = Node(database, clock, hashing=Hashing(reactor, middle), pepper=fresh)
    asked.hashing.start()
    asked.hashing.stop()  # nobody could ask argon2id now
    assert await asked.answer(SECRET, STRANGER) == "Caller"
    assert await asked.answer(WRONG, STRANGER) == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_under_a_changed_pepper_guesses_are_counted_too(node, database, clock, hashing):
    await soon(node.doorman.claim(await node.ask(claim=True)))
    asked = Node(database, clock, hashing=hashing, pepper=Pepper(b"another pepper of the tests"))
    told = await together(*(asked.answer(f"{WRONG}{n}", STRANGER) for n in range(30)))
    assert Counter(told) == {"Unauthorised": 10, "Locked": 20}


@pytest_twisted.ensureDeferred
async def test_the_secret_before_a_rotation_works_until_its_time_is_up(node, org, database, clock):
    await sql(
        database,
        "UPDATE orgs SET secret_hmac = %(new)s, old_hmac = %(old)s,"
        " old_until = clock_timestamp() + interval '1 hour'",
        new=PEPPER.seal(ORG, "secret-of-after"),
        old=PEPPER.seal(ORG, SECRET),
    )
    for address in (HOME, HOME, STRANGER):
        assert await node.answer(SECRET, address) == "Caller"
        assert await node.answer("secret-of-after", address) == "Caller"
    await sql(database, "UPDATE orgs SET old_until = clock_timestamp()")
    clock.advance(1)
    assert await node.answer(SECRET, HOME) == "Unauthorised"
    assert await node.answer("secret-of-after", HOME) == "Caller"


# -- limits by address, cost, and orgs that go ---------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_address_may_fail_only_so_often_a_minute(database, clock, hashing):
    node = Node(database, clock, hashing=hashing, max_failures_per_minute=5)
    for n in range(8):
        await made_org(database, f"org-{n}")
    told = await together(*(node.answer(WRONG, STRANGER, f"org-{n}") for n in range(8)))
    assert Counter(told) == {"Unauthorised": 5, "TooMany": 3}
    with pytest.raises(TooMany) as refused:
        await node.ask(SECRET, STRANGER, "org-7")
    assert refused.value.retry_after == 60
    assert await node.answer(SECRET, HOME, "org-7") == "Caller"
    clock.advance(60)
    assert await node.answer(SECRET, STRANGER, "org-7") == "Caller"


@pytest_twisted.ensureDeferred
async def test_right_secrets_do_not_count_as_failures_of_an_address(database, clock, hashing):
    node = Node(database, clock, hashing=hashing, max_failures_per_minute=2)
    for n in range(6):
        await made_org(database, f"org-{n}")
        assert await node.answer(SECRET, HOME, f"org-{n}") == "Caller"


@pytest_twisted.ensureDeferred
async def test_no_database_is_asked_in_the_common_case(node, org):
    assert await node.answer(SECRET, HOME) == "Caller"
    assert await node.answer(SECRET, HOME) == "Caller"
    node.database.run_names.clear()
    for _ in range(1000):
        assert await node.answer(SECRET, HOME) == "Caller"
    assert node.database.run_names.total() == 0


@pytest_twisted.ensureDeferred
async def test_many_who_come_at_once_ask_the_database_once(node, org, clock):
    assert await node.answer(SECRET, HOME) == "Caller"
    clock.advance(5)
    node.database.run_names.clear()
    told = await together(*(node.answer(SECRET, HOME) for _ in range(1000)))
    assert set(told) == {"Caller"}
    assert node.database.run_names == {"recall_address": 1}


@pytest_twisted.ensureDeferred
async def test_all_who_wait_hear_that_the_database_is_away(node, org):
    with node.database.held("recall_address"):
        node.database.fail("recall_address", Unavailable())
        waiting = Deferred.fromCoroutine(together(*(node.answer() for _ in range(5))))
    assert await waiting == ["Unavailable"] * 5
    assert await node.answer() == "Caller"


@pytest_twisted.ensureDeferred
async def test_what_was_asked_before_a_failure_is_not_remembered_after_it(node, org, clock):
    """Else an address that has failed would stay in good standing for a second."""
    assert await node.answer(SECRET, HOME) == "Caller"
    clock.advance(2)
    with node.database.answers_held("recall_address", most=1) as gate:
        early = Deferred.fromCoroutine(node.ask(SECRET, HOME))
        await soon(gate.reached)
        await orgs_distrusts(node)
    assert await early == Caller(ORG)
    await guess(node, 9)
    assert await node.answer(SECRET, HOME) == "Locked"


async def orgs_distrusts(node) -> None:
    """The address fails while an answer about it is on its way."""
    node.doorman._acquaintance.forget(ORG)
    await node.database.transaction("fail", lambda tx: orgs.reserve(tx, ORG, HOME))


@pytest_twisted.ensureDeferred
async def test_an_org_that_was_deleted_meanwhile_is_unknown(node, org, database, clock):
    assert await node.answer(SECRET, HOME) == "Caller"
    assert await node.answer(WRONG, STRANGER) == "Unauthorised"
    await node.answer(SECRET, HOME)
    await sql(database, "DELETE FROM orgs")
    assert await node.answer(WRONG, HOME) == "Unauthorised"
    clock.advance(2)
    assert await node.answer(SECRET, HOME) == "Unauthorised"


@pytest_twisted.ensureDeferred
async def test_an_org_deleted_just_before_its_address_is_noted_is_unknown(
    node, org, database, clock
):
    assert await node.answer(SECRET, HOME) == "Caller"
    await time_passes(database, clock, 7_200)
    with node.database.held("know_address") as gate:
        asking = Deferred.fromCoroutine(together(node.ask(SECRET, HOME)))
        await soon(gate.reached)
        await sql(database, "DELETE FROM orgs")
    assert [type(one) for one in await soon(asking)] == [Unauthorised]


@pytest_twisted.ensureDeferred
async def test_upkeep_forgets_what_no_longer_counts(node, org, database, clock):
    await node.answer(SECRET, HOME)
    await guess(node, 3)
    await time_passes(database, clock, 86_401)
    node.doorman.prune()
    await orgs.prune_everywhere(database)
    assert await failures(database) == 0
    assert await sql(database, "SELECT * FROM known_addresses") == []
    assert node.doorman._acquaintance._pages == {}
