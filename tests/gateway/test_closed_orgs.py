"""An org that the operator closes or deletes loses its phones; messages go when they are old."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, SECRET, made_org, soon, sql

OTHER = "other-org"
#: What an operator's command writes.
CLOSE = "UPDATE orgs SET pepper_id = 'closed', secret_hmac = 'nobody''s' WHERE org_id = %(org)s"
DELETE = "DELETE FROM orgs WHERE org_id = %(org)s"
HASHED = "UPDATE orgs SET secret_hash = %(hash)s WHERE org_id = %(org)s"


@pytest_twisted.async_fixture
async def org(database):
    await made_org(database, OTHER, "secret-of-the-other")
    return await made_org(database)


@pytest.mark.parametrize("change", [CLOSE, DELETE])
@pytest_twisted.ensureDeferred
async def test_phones_of_a_closed_or_deleted_org_go_and_those_of_others_stay(
    node, org, database, change
):
    await node.upkeep.beat()
    phone, other = await node.come(), await node.come(org_id=OTHER)
    await soon(node.upkeep.dismiss_closed())
    assert phone.closed == []

    await sql(database, change, org=ORG)
    await soon(node.upkeep.dismiss_closed())
    await node.settled()

    assert (phone.closed, other.closed) == (["unauthorised"], [])
    assert list(node.roster) == [other.visit]
    assert await sql(database, "SELECT org_id FROM sessions") == [(OTHER,)]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_such_a_phone_held_is_not_lost(node, org, database):
    phone = await node.come()
    await node.send()
    await sql(database, CLOSE, org=ORG)
    await soon(node.upkeep.dismiss_closed())
    await node.settled()
    assert phone.pushed == [1]
    ((status, pushed_at),) = await sql(database, "SELECT status, pushed_at FROM messages")
    assert status == "sending"
    assert pushed_at is not None


@pytest_twisted.ensureDeferred
async def test_the_secret_of_a_closed_org_is_wrong_within_a_second(node, org, database, clock):
    assert await node.answer(SECRET) == "Caller"
    hashed = await node.hashing.hash("what nobody knows")
    await sql(database, CLOSE, org=ORG)
    await sql(database, HASHED, org=ORG, hash=hashed)
    clock.advance(1)
    assert await node.answer(SECRET) == "Unauthorised"
    assert await node.answer("secret-of-the-other", org_id=OTHER) == "Caller"


@pytest_twisted.ensureDeferred
async def test_old_messages_go_by_themselves_and_what_waits_stays(node, org, database, clock):
    await node.send(None, None)
    await sql(database, "UPDATE messages SET status = 'failed', error = 'x' WHERE id = 1")
    await sql(database, "UPDATE messages SET created_at = now() - interval '8 days'")
    await node.send()
    node.upkeep.keep_messages = 7
    await soon(node.upkeep.delete_old())
    assert await sql(database, "SELECT id FROM messages ORDER BY id") == [(2,), (3,)]


@pytest.mark.parametrize(("days", "looked"), [(0, False), (7, True)])
@pytest_twisted.ensureDeferred
async def test_messages_are_kept_for_ever_unless_the_setting_says_how_long(
    node, org, clock, days, looked
):
    node.upkeep.keep_messages = days
    node.upkeep.start()
    clock.advance(3600)
    await node.settled()
    node.upkeep.stop()
    assert bool(node.database.run_names["orgs_after_everywhere"]) is looked
    assert node.database.run_names["closed_orgs"] > 0
