"""What answers a ticket: the first SMS behind it from its number, on its SIM."""

import json

import pytest
import pytest_twisted
from seed import append, ask, claimed, pushed, sms, ticket
from test_plans import filled, most_read, plan, scans

from smsd.domain.query import MessageQuery
from smsd.store import messages, tickets

THEM = "+15553334444"


async def answered(database, ticket=1, org_id="acme"):
    """The id of the reply, None where there is none."""
    heard = await tickets.reply(database, org_id, ticket)
    return heard.reply and json.loads(heard.reply)["id"]


@pytest_twisted.ensureDeferred
async def test_the_first_behind_the_ticket_is_the_reply_as_messages_show_it(database):
    await claimed(database, "acme")
    before = sms(address=THEM)
    await append(database, before, ticket(), sms(address=THEM, body="yes"), sms(address=THEM))
    heard = await tickets.reply(database, "acme", 2)
    page = await messages.read(database, "acme", MessageQuery(since_id=2, limit=1))
    assert heard.status == "queued"
    assert json.loads(heard.reply) == json.loads(page)["messages"][0]
    assert json.loads(heard.reply)["body"] == "yes"


@pytest_twisted.ensureDeferred
async def test_others_and_what_was_sent_since_are_no_reply(database):
    await claimed(database, "acme", "beta")
    rows = [
        ticket(),
        sms(address="+15553334445"),
        sms("beta", address=THEM),
        ticket(body="and?"),
    ]
    await append(database, *rows)
    assert await tickets.reply(database, "acme", 1) == ("queued", None)
    await append(database, sms(address="+1 555 333-4444"))
    assert await answered(database) == 4


@pytest_twisted.ensureDeferred
async def test_of_a_ticket_that_is_not_there_there_is_nothing(database):
    await claimed(database, "acme", "beta")
    await append(database, ticket(), sms(address=THEM))
    assert await tickets.reply(database, "acme", 2) is None
    assert await tickets.reply(database, "acme", 9) is None
    assert await tickets.reply(database, "beta", 1) is None


NUMBER, OTHER = "+15550000001", "+15550000002"


@pytest.mark.parametrize(
    ("sent_by", "came_to", "is_one"),
    [
        ({"sim_number": NUMBER}, {"sim_number": NUMBER}, True),
        ({"sim_number": NUMBER}, {"sim_number": "1 555 000-0001"}, True),
        ({"sim_number": NUMBER}, {"sim_number": OTHER}, False),
        ({"sim_number": NUMBER, "sim_slot": 0}, {"sim_number": NUMBER, "sim_slot": 1}, True),
        ({"sim_number": NUMBER, "sim_slot": 0}, {"sim_number": OTHER, "sim_slot": 0}, False),
        ({"sim_number": NUMBER, "sim_slot": 0}, {"sim_slot": 0}, True),
        ({"sim_number": NUMBER, "sim_slot": 0}, {"sim_slot": 1}, False),
        ({"sim_slot": 0}, {"sim_slot": 0, "sim_number": NUMBER}, True),
        ({"sim_slot": 1}, {"sim_slot": 0, "sim_number": NUMBER}, False),
        ({"sim_number": NUMBER}, {"sim_slot": 1}, True),
        ({}, {"sim_slot": 1, "sim_number": NUMBER}, True),
        ({"sim_number": NUMBER, "sim_slot": 0}, {}, True),
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_it_comes_to_the_sim_of_the_ticket_as_far_as_both_are_known(
    database, sent_by, came_to, is_one
):
    await claimed(database, "acme")
    number = sent_by.get("sim_number")
    digits = number and number[1:]
    await append(database, pushed(**{"sim_digits": digits, **sent_by}))
    await append(database, sms(address=THEM, **came_to))
    assert await answered(database) == (2 if is_one else None)


@pytest_twisted.ensureDeferred
async def test_a_reply_is_found_by_an_index_and_little_is_read(database):
    await filled(database)
    for key in ("a7", "a91"):
        ((id_,),) = await ask(
            database,
            """SELECT min(id) FROM messages
               WHERE org_id = 'acme' AND address_key = %(key)s AND direction = 'out'""",
            key=key,
        )
        found = await plan(database, "read_reply", "ANALYZE, COSTS", org_id="acme", id=id_)
        assert len(scans(found)) == 2
        assert ("Index Scan", "messages_address") in scans(found)
        assert all("Seq" not in kind for kind, _ in scans(found)), found
        assert most_read(found) <= 20
