"""An SMS that arrived is stored once, all or nothing (contract section 2)."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import HOME, ORG, RecordingPhone, made_org, soon, sql, together

from smsd.domain.credentials import Credentials
from smsd.domain.errors import Unauthorised, Unavailable
from smsd.domain.records import Inbound, Sim
from smsd.gateway.doorman import Caller, Newcomer


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def sms(body: str = "a private text", **more) -> Inbound:
    return Inbound(address="+15551112222", body=body, **more)


async def stored(database, columns: str = "id, body"):
    return await sql(database, f"SELECT {columns} FROM messages ORDER BY org_id, id")


@pytest_twisted.ensureDeferred
async def test_all_are_stored_in_their_order(node, org, database):
    assert await soon(node.inbox.store(org, [sms("1"), sms("2"), sms("2")])) == 3
    assert await stored(database) == [(1, "1"), (2, "2"), (3, "2")]


@pytest_twisted.ensureDeferred
async def test_nothing_to_store_asks_nobody(node, org):
    assert await node.inbox.store(org, []) == 0
    assert node.database.run_names.total() == 0


@pytest_twisted.ensureDeferred
async def test_a_retry_counts_and_is_not_stored_again(node, org, database):
    first = [sms("1", id=7, date=5), sms("2", id=8, date=5)]
    assert await soon(node.inbox.store(org, first)) == 2
    again = [*first, sms("3", id=9, date=5), sms("3", id=9, date=5)]
    assert await soon(node.inbox.store(org, again)) == 4
    assert [body for _, body in await stored(database)] == ["1", "2", "3"]


@pytest_twisted.ensureDeferred
async def test_an_id_that_is_used_for_another_text_loses_nothing(node, org, database):
    for one in (sms("1", id=7), sms("2", id=7), sms("1", id=7, date=1), sms("1"), sms("1")):
        assert await soon(node.inbox.store(org, [one])) == 1
    assert len(await stored(database)) == 5


@pytest_twisted.ensureDeferred
async def test_nothing_is_stored_while_the_database_is_away(node, org, database):
    node.database.fail("append_messages", Unavailable())
    with pytest.raises(Unavailable):
        await node.inbox.store(org, [sms("1"), sms("2")])
    assert await stored(database) == []


@pytest_twisted.ensureDeferred
async def test_what_comes_at_once_is_stored_in_few_statements(node, database):
    callers = [await made_org(database, f"org-{n}") for n in range(20)]
    counts = await together(*(node.inbox.store(callers[n % 20], [sms(str(n))]) for n in range(200)))
    assert counts == [1] * 200
    assert node.database.run_names["append_messages"] <= 3
    assert await stored(database, "id") == [(n,) for _ in range(20) for n in range(1, 11)]


@pytest_twisted.ensureDeferred
async def test_an_org_that_was_deleted_meanwhile_stores_nothing(node, org, database):
    await sql(database, "DELETE FROM orgs")
    with pytest.raises(Unauthorised):
        await soon(node.inbox.store(org, [sms()]))
    assert await stored(database) == []


@pytest_twisted.ensureDeferred
async def test_an_unknown_org_does_not_fail_its_neighbours(node, org, database):
    both = [node.inbox.store(Caller("nobody"), [sms()]), node.inbox.store(org, [sms()])]
    refused, count = await together(*both)
    assert (type(refused), count) == (Unauthorised, 1)


@pytest_twisted.ensureDeferred
async def test_the_number_is_what_this_phone_reports_for_the_slot(node, org, database):
    phone = await node.come(
        RecordingPhone(), Sim(slot=0, number="+1 555 0001"), Sim(slot=1), Sim(slot=2, number="")
    )
    await node.come(RecordingPhone(), Sim(slot=0, number="+15550009"))
    given = [sms(sim_slot=0), sms(sim_slot=1), sms(sim_slot=2), sms(sim_slot=3), sms()]
    given.append(sms(sim_slot=0, sim_number="+15557777"))
    await soon(node.inbox.store(org, given, phone.visit))
    assert await stored(database, "sim_slot, sim_number, sim_digits") == [
        (0, "+1 555 0001", "15550001"),
        (1, None, None),
        (2, None, None),
        (3, None, None),
        (None, None, None),
        (0, "+15557777", "15557777"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_webhook_fills_in_the_number_of_the_orgs_only_sim_of_the_slot(node, org, database):
    await node.come(RecordingPhone(), Sim(slot=0, number="+15550001"))
    await soon(node.inbox.store(org, [sms(sim_slot=0), sms(sim_slot=1)]))
    await node.come(RecordingPhone(), Sim(slot=0, number="+15550002"))
    await soon(node.inbox.store(org, [sms(sim_slot=0)]))
    assert await stored(database, "sim_number") == [("+15550001",), (None,), (None,)]


@pytest_twisted.ensureDeferred
async def test_a_newcomer_whose_message_the_database_refuses_claims_nothing(node, database):
    newcomer = Newcomer(Credentials(ORG, "my-secret-key-123"), HOME)
    node.database.fail("claim org", Unavailable())
    with pytest.raises(Unavailable):
        await soon(node.inbox.store(newcomer, [sms()]))
    assert await sql(database, "SELECT * FROM orgs") == []
