"""Orgs are claimed once, their failures counted and forgotten, their addresses known for a day."""

import pytest
import pytest_twisted
from seed import HMAC, ask, claimed, new_org
from twisted.internet.defer import Deferred, gatherResults

from smsd.store import orgs
from smsd.store.orgs import ADDRESSES, FAILURES, LOCK, Asked, Reservation, Shut
from smsd.store.trouble import DataRefused

OWNER, GUESSER = "203.0.113.7", "198.51.100.9"
OTHER = b"o" * 32


async def reserve(database, address=GUESSER, org_id="acme"):
    return await database.transaction("reserve", lambda tx: orgs.reserve(tx, org_id, address))


async def forgive(database, reservation, address=OWNER):
    await database.transaction(
        "forgive", lambda tx: orgs.forgive(tx, "acme", address, HMAC, reservation)
    )


async def recall(database, address=OWNER):
    (found,) = await orgs.recall(database, [Asked("acme", address)])
    return found


async def lock(database):
    """Guess until the org is locked."""
    for _ in range(FAILURES):
        assert isinstance(await reserve(database), Reservation)
    assert isinstance(await reserve(database), Shut)


async def later(database, span):
    """All that is noted happened so much earlier."""
    for change in (
        "org_locks SET locked_until = locked_until - %(span)s::interval",
        "auth_failures SET failed_at = failed_at - %(span)s::interval",
        "known_addresses SET right_at = right_at - %(span)s::interval,"
        " failed_at = failed_at - %(span)s::interval",
    ):
        await ask(database, f"UPDATE {change}", span=span)


# -- claiming --------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_of_two_first_uses_at_once_one_wins_and_the_other_hears_so(database):
    async def claim(secret):
        org = orgs.NewOrg("acme", secret, HMAC, "pepper", OWNER)
        return await database.transaction("claim", lambda tx: orgs.create(tx, org))

    won = await gatherResults([Deferred.fromCoroutine(claim(s)) for s in ("one", "other")])
    assert sorted(won) == [False, True]
    found = await orgs.find(database, "acme")
    assert found.secret_hash == ("one" if won[0] else "other")


@pytest_twisted.ensureDeferred
async def test_an_org_is_found_with_what_its_secret_is_recognised_by(database):
    assert await orgs.find(database, "acme") is None
    assert await recall(database) is None
    await claimed(database, "acme")
    found = await orgs.find(database, "acme")
    assert (found.secret_hmac, found.pepper_id, found.old_hmac) == (HMAC, "pepper", None)
    assert found.secret_hash == "hash of acme"
    assert "hhhh" not in repr(found)
    assert "hash of" not in repr(found)


@pytest_twisted.ensureDeferred
async def test_who_claimed_an_org_is_known_by_its_address_and_nobody_else_is(database):
    await claimed(database, "acme")
    owner, stranger = await recall(database), await recall(database, GUESSER)
    assert (owner.hmac, owner.right_lately, owner.locked_for) == (HMAC, True, 0)
    assert (stranger.hmac, stranger.right_lately, stranger.locked_for) == (None, False, 0)
    assert stranger.verifiers == owner.verifiers


@pytest.mark.parametrize(("until", "works"), [("1 min", True), ("-1 min", False)])
@pytest_twisted.ensureDeferred
async def test_the_secret_before_a_rotation_works_until_its_time_is_over(database, until, works):
    await claimed(database, "acme")
    rotate = "UPDATE orgs SET old_hmac = %(old)s, old_until = now() + %(until)s::interval"
    await ask(database, rotate, old=OTHER, until=until)
    for verifiers in (await orgs.find(database, "acme"), (await recall(database)).verifiers):
        assert verifiers.old_hmac == (OTHER if works else None)


@pytest_twisted.ensureDeferred
async def test_a_new_pepper_renews_the_fingerprint_of_the_secret_that_was_vouched_for(database):
    await claimed(database, "acme")
    await orgs.renew(database, "acme", "hash of acme", OTHER, "new")
    found = await orgs.find(database, "acme")
    assert (found.secret_hmac, found.pepper_id) == (OTHER, "new")
    await orgs.renew(database, "acme", "hash before a rotation", HMAC, "newer")
    assert await orgs.find(database, "acme") == found


# -- failures and locks ----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_tenth_failure_locks_and_attempts_during_the_lock_do_not_extend_it(database):
    await claimed(database, "acme", "other")
    reserved = [await reserve(database) for _ in range(FAILURES)]
    assert [r.lock_before for r in reserved] == [None] * (FAILURES - 1) + ["-infinity"]
    assert (await reserve(database)).seconds in range(LOCK - 60, LOCK + 1)
    await later(database, "1 min")
    assert (await reserve(database)).seconds in range(LOCK - 120, LOCK - 59)
    assert await ask(database, "SELECT count(*) FROM auth_failures") == [(FAILURES,)]
    assert isinstance(await reserve(database, org_id="other"), Reservation)


@pytest_twisted.ensureDeferred
async def test_parallel_guesses_cannot_beat_the_count(database):
    await claimed(database, "acme")
    guesses = [Deferred.fromCoroutine(reserve(database, f"a{n}")) for n in range(40)]
    answered = await gatherResults(guesses)
    assert sum(isinstance(each, Reservation) for each in answered) == FAILURES


@pytest_twisted.ensureDeferred
async def test_failures_are_forgotten_after_their_window_and_after_a_lock(database):
    await claimed(database, "acme")
    for _ in range(FAILURES - 1):
        await reserve(database)
    await later(database, "901 s")
    await lock(database)
    await later(database, "301 s")
    await lock(database)


@pytest_twisted.ensureDeferred
async def test_a_right_secret_forgets_the_failures_of_its_own_address_only(database):
    await claimed(database, "acme")
    for address in (OWNER, OWNER, GUESSER):
        reservation = await reserve(database, address)
    await forgive(database, await reserve(database, OWNER))
    assert await ask(database, "SELECT address FROM auth_failures") == [(GUESSER,)]
    assert reservation.lock_before is None


@pytest_twisted.ensureDeferred
async def test_a_right_secret_takes_back_the_lock_that_its_own_reservation_set(database):
    await claimed(database, "acme")
    for _ in range(FAILURES - 1):
        await reserve(database)
    reservation = await reserve(database, OWNER)
    assert (await recall(database, GUESSER)).locked_for > 0
    await forgive(database, reservation)
    assert (await recall(database, GUESSER)).locked_for == 0
    assert isinstance(await reserve(database), Reservation)
    assert isinstance(await reserve(database), Shut)


@pytest_twisted.ensureDeferred
async def test_a_lock_is_seen_by_who_recalls_the_org(database):
    await claimed(database, "acme")
    await lock(database)
    owner, stranger = await recall(database), await recall(database, GUESSER)
    assert owner.locked_for in range(LOCK - 60, LOCK + 1)
    assert (owner.hmac, stranger.hmac) == (HMAC, None)
    await later(database, "301 s")
    assert (await recall(database)).locked_for == 0


@pytest_twisted.ensureDeferred
async def test_guesses_at_an_org_that_is_none_are_refused_by_the_table(database):
    with pytest.raises(DataRefused) as caught:
        await reserve(database, org_id="nobody")
    assert caught.value.constraint == "org_locks_org_id_fkey"


# -- addresses -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_address_that_fails_is_no_longer_known_until_it_is_right_again(database):
    await claimed(database, "acme")
    reservation = await reserve(database, OWNER)
    assert (await recall(database)).hmac is None
    await forgive(database, reservation)
    assert (await recall(database)).hmac == HMAC


@pytest.mark.parametrize(
    ("span", "hmac", "lately"),
    [("59 min", HMAC, True), ("61 min", HMAC, False), ("25 h", None, False)],
)
@pytest_twisted.ensureDeferred
async def test_an_address_is_known_for_a_day_and_right_lately_for_an_hour(
    database, span, hmac, lately
):
    await claimed(database, "acme")
    await later(database, span)
    seen = await recall(database)
    assert (seen.hmac, seen.right_lately) == (hmac, lately)
    await orgs.know(database, "acme", OWNER, OTHER)
    assert (await recall(database)).hmac == OTHER


@pytest_twisted.ensureDeferred
async def test_what_no_longer_counts_is_dropped_and_the_rest_stays(database):
    await claimed(database, "acme", "other")
    await reserve(database)
    await later(database, "25 h")
    await reserve(database)
    await orgs.know(database, "acme", OWNER, HMAC)
    await orgs.prune_everywhere(database)
    assert await ask(database, "SELECT count(*) FROM auth_failures") == [(1,)]
    assert await ask(database, "SELECT org_id FROM known_addresses") == [("acme",)]


@pytest_twisted.ensureDeferred
async def test_of_too_many_addresses_of_one_org_the_newest_stay(database):
    await claimed(database, "acme", "other")
    fill = """INSERT INTO known_addresses (org_id, address, secret_hmac, right_at)
              SELECT 'acme', 'a' || n, '', clock_timestamp() - make_interval(secs => n)
              FROM generate_series(1, 300) AS n"""
    await ask(database, fill)
    await orgs.prune_everywhere(database)
    count = "SELECT org_id, count(*) FROM known_addresses GROUP BY 1 ORDER BY 1"
    assert await ask(database, count) == [("acme", ADDRESSES), ("other", 1)]
    assert (await recall(database)).hmac == HMAC
    assert (await recall(database, "a255")).verifiers
    left = "SELECT count(*) FROM known_addresses WHERE address IN ('a1', 'a255', 'a256', 'a300')"
    assert await ask(database, left) == [(2,)]


def test_an_org_that_is_written_keeps_its_secrets_out_of_its_repr():
    assert "hash of" not in repr(new_org("acme"))
    assert "hhhh" not in repr(new_org("acme"))
