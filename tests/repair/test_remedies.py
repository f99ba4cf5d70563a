"""What operators change by hand in a real database: secrets, locks, tickets."""

from __future__ import annotations

import pytest
import pytest_twisted

from smsd.domain.records import new_ref
from smsd.store import messages, orgs, overview, remedies
from smsd.store.messages import NewMessage, Pushed
from smsd.store.remedies import CLOSED, NoGrace, Secret
from smsd.store.statements import Statement

ORG, SESSION = "acme", "00000000-0000-4000-8000-000000000001"
OLD = Secret("old hash", b"o" * 32, "pepper")


async def ask(database, text, **values):
    return await database.run(Statement("test", text), **values)


@pytest_twisted.async_fixture
async def org(database):
    assert await remedies.create(database, ORG, OLD)
    return ORG


async def ticket(database, status="queued", **more):
    """A ticket of the org; its id."""
    given = {"attempts": 1, "session_id": SESSION, "phone_id": "?"} if status == "sending" else {}
    row = NewMessage(
        org_id=ORG, status=status, direction="out", address="+1555", address_key="1555", body="hi",
        sim_key="*", ref=new_ref(), ord=0, **given, **more,
    )  # fmt: skip
    return (await messages.append(database, [row]))[0]


async def on_line(database, seen="now()"):
    await ask(database, f"INSERT INTO nodes VALUES ('n', {seen})")
    await ask(
        database,
        "INSERT INTO sessions (org_id, session_id, phone_id, node_id)"
        " VALUES ('acme', %(session)s, 'device:handy', 'n')",
        session=SESSION,
    )


async def status(database, id_):
    ((found,),) = await ask(database, "SELECT status FROM messages WHERE id = %(id)s", id=id_)
    return found


# -- secrets and locks -----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_name_is_given_once_and_its_ids_go_on_counting(database, org):
    assert await ticket(database) == 1
    assert not await remedies.create(database, ORG, OLD)
    await ask(database, "DELETE FROM messages; DELETE FROM orgs")
    assert await remedies.create(database, ORG, OLD)
    assert await ticket(database) == 2


@pytest_twisted.ensureDeferred
async def test_another_secret_replaces_the_old_one_at_once(database, org):
    new = Secret("new hash", b"n" * 32, "pepper")
    assert await remedies.replace_secret(database, ORG, new) is None
    found = await orgs.find(database, ORG)
    assert (found.secret_hmac, found.old_hmac) == (new.secret_hmac, None)


@pytest_twisted.ensureDeferred
async def test_for_a_grace_the_old_secret_works_on_beside_the_new_one(database, org):
    new = Secret("new hash", b"n" * 32, "pepper")
    assert await remedies.replace_secret(database, ORG, new, grace=60) is not None
    found = await orgs.find(database, ORG)
    assert (found.secret_hmac, found.old_hmac) == (new.secret_hmac, OLD.secret_hmac)


@pytest_twisted.ensureDeferred
async def test_a_grace_that_cannot_be_given_changes_nothing(database, org):
    with pytest.raises(NoGrace):
        await remedies.replace_secret(database, ORG, Secret("", b"n", "another"), grace=60)
    assert (await orgs.find(database, ORG)).secret_hmac == OLD.secret_hmac


@pytest_twisted.ensureDeferred
async def test_nobody_gets_a_secret_who_is_not_there(database):
    with pytest.raises(KeyError):
        await remedies.replace_secret(database, ORG, OLD)
    assert not await remedies.unlock(database, ORG)


@pytest_twisted.ensureDeferred
async def test_an_org_that_is_unlocked_has_all_its_attempts_again(database, org):
    async def wrong():
        return await database.transaction("try", lambda tx: orgs.reserve(tx, ORG, "203.0.113.9"))

    for _ in range(orgs.FAILURES):
        await wrong()
    assert isinstance(await wrong(), orgs.Shut)
    assert (await overview.org(database, ORG)).state == "locked"

    assert await remedies.unlock(database, ORG)

    assert (await overview.org(database, ORG)).state == "open"
    for _ in range(orgs.FAILURES - 1):
        assert (await wrong()).lock_before is None
    assert (await wrong()).lock_before is not None


@pytest_twisted.ensureDeferred
async def test_closed_orgs_and_those_that_are_no_more_are_told_from_others(database, org):
    await remedies.create(database, "other", OLD)
    assert await remedies.closed_orgs(database, [ORG, "other", "nobody"]) == ["nobody"]
    await remedies.replace_secret(database, ORG, Secret("", b"", CLOSED))
    assert sorted(await remedies.closed_orgs(database, [ORG, "other"])) == [ORG]
    assert (await overview.org(database, ORG)).state == "closed"


# -- tickets ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_ticket_whose_phone_is_gone_waits_again_as_if_it_were_new(database, org):
    id_ = await ticket(database, "sending")
    await messages.end_pushes(database, [Pushed(ORG, id_, SESSION, "?", 1000, 2000)])
    assert await remedies.requeue(database, ORG, id_)
    rows = await ask(
        database, "SELECT status, session_id, handed_at, attempts, receipted FROM messages"
    )
    assert rows == [("queued", None, None, 1, 1)]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_a_phone_on_line_holds_is_not_queued_again(database, org):
    id_ = await ticket(database, "sending")
    await on_line(database)
    assert (await remedies.find(database, ORG, id_)).held
    assert not await remedies.requeue(database, ORG, id_)
    assert await status(database, id_) == "sending"


@pytest_twisted.ensureDeferred
async def test_a_dead_node_holds_no_ticket(database, org):
    id_ = await ticket(database, "sending")
    await on_line(database, "now() - interval '1 minute'")
    assert not (await remedies.find(database, ORG, id_)).held
    assert await remedies.requeue(database, ORG, id_)


@pytest.mark.parametrize("leaves", ["queued", "sending"])
@pytest_twisted.ensureDeferred
async def test_a_ticket_ends_once_by_hand_and_says_so(database, org, leaves):
    id_ = await ticket(database, leaves)
    assert await remedies.fail(database, ORG, id_, "by hand")
    assert not await remedies.fail(database, ORG, id_, "again")
    assert not await remedies.requeue(database, ORG, id_)
    rows = await ask(database, "SELECT status, error, error_detail FROM messages")
    assert rows == [("failed", "failed_by_operator", "by hand")]


@pytest_twisted.ensureDeferred
async def test_an_sms_that_arrived_is_no_ticket(database, org):
    row = NewMessage(
        org_id=ORG, status="received", direction="in", address="", address_key="", body="", ord=0
    )
    (id_,) = (await messages.append(database, [row])).values()
    assert await remedies.find(database, ORG, id_) is None
    assert not await remedies.fail(database, ORG, id_, "by hand")


@pytest_twisted.ensureDeferred
async def test_open_tickets_are_told_with_what_they_wait_for(database, org):
    waits, held, lost = [await ticket(database, s) for s in ("queued", "sending", "sending")]
    await on_line(database)
    await ask(
        database,
        "UPDATE messages SET session_id = gen_random_uuid(), pushed_at = now(),"
        " handed_at = now() - interval '2 minutes' WHERE id = %(id)s",
        id=lost,
    )
    found = {one.id: one for one in await overview.open_tickets(database, ORG)}
    assert [found[i].held for i in (waits, held, lost)] == [False, True, False]
    assert [found[i].pushed for i in (waits, held, lost)] == [False, False, True]
    assert all(one.org_on_line for one in found.values())
    assert [one.id for one in await overview.open_tickets(database, seconds=60)] == [lost]
    assert await overview.open_tickets(database, "other") == []
    assert [one.id for one in await overview.open_tickets(database, most=1)] == [waits]


@pytest_twisted.ensureDeferred
async def test_a_database_that_no_gateway_has_used_is_known(database):
    assert await overview.schema(database) >= 2
    await ask(database, "DROP TABLE schema_migrations")
    assert await overview.schema(database) == 0
