"""Orgs, SMS that arrived and tickets for the tests of this directory, as the gateway makes them."""

from smsd.domain.numbers import address_key, digits
from smsd.domain.records import Inbound, Wish, new_ref
from smsd.store import messages, orgs
from smsd.store.messages import NewMessage
from smsd.store.statements import Statement

SESSION = "00000000-0000-4000-8000-000000000001"
OTHER_SESSION = "00000000-0000-4000-8000-000000000002"
HMAC = b"h" * 32


def sql(text):
    """A statement of a test's own."""
    return Statement("test", text)


async def ask(where, text, **parameters):
    """The rows of a statement of a test's own."""
    return await where.run(sql(text), **parameters)


def new_org(org_id, address="203.0.113.7"):
    return orgs.NewOrg(org_id, "hash of " + org_id, HMAC, "pepper", address)


async def claimed(database, *org_ids):
    """Orgs that exist."""
    for org_id in org_ids:
        await database.transaction("claim", lambda tx, o=org_id: orgs.create(tx, new_org(o)))


def sms(org_id="acme", *, number=None, **said):
    """An SMS that arrived."""
    said = {"address": "+15551112222", "body": "hi", **said}
    return messages.arrived(org_id, Inbound(**said), number)


def ticket(org_id="acme", sim=None, *, to="+15553334444", body="hi", **more):
    """A ticket, queued unless ``more`` says otherwise."""
    wish = Wish.of(sim)
    row = {
        "status": "queued",
        "sim_slot": wish.slot,
        "sim_number": wish.number,
        "sim_digits": digits(wish.number) if wish.number else None,
        "sim_asked": wish.text,
        "sim_key": wish.key,
        "ref": new_ref(),
        **more,
    }
    key = address_key(to)
    return NewMessage(org_id=org_id, direction="out", address=to, address_key=key, body=body, **row)


def pushed(org_id="acme", sim=None, *, session_id=SESSION, **more):
    """A ticket that was given to a session when it was stored."""
    given = {"status": "sending", "attempts": 1, "session_id": session_id, "phone_id": "?"}
    return ticket(org_id, sim, **{**given, **more})


async def append(where, *rows):
    """Store these in one statement; their ids, in order."""
    for at, row in enumerate(rows):
        row.ord = at
    ids = await messages.append(where, rows)
    return [ids[at] for at in range(len(rows))]


async def stored(database, columns="id, body", org_id="acme"):
    """What the table holds of an org, in order."""
    found = f"SELECT {columns} FROM messages WHERE org_id = %(org_id)s ORDER BY id"
    return await ask(database, found, org_id=org_id)
