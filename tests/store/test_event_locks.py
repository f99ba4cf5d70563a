"""Whoever waits for a counter holds no ticket and no session, so that nobody can deadlock."""

import pytest
import pytest_twisted
from databases import opened
from seed import OTHER_SESSION, SESSION, append, ask, pushed, ticket
from test_events import PHONE, SIM, listening
from twisted.internet.defer import Deferred

from smsd.domain.records import Result
from smsd.store import limits, messages, phones, remedies, resumption
from smsd.store.messages import Pushed, Served, Told
from smsd.store.phones import SessionRow
from smsd.store.resumption import InDoubt
from smsd.store.statements import named

HOPELESS = {"max_attempts": 0, "detail": "hopeless"}
TAKER = {"session_id": OTHER_SESSION, "phone_id": "?", "ledger": False}
#: What may wait for the counter, on an org with a ticket at a phone (1) and one that waits (2).
WAITING = {
    "settle": lambda db: messages.settle(db, [Told(Result(org_id="acme", id=1, success=True))]),
    "claim": lambda db: messages.claim(db, "acme", serves=[Served("*")], places=5, **TAKER),
    "end pushes": lambda db: messages.end_pushes(db, [Pushed("acme", 1, SESSION, "?", None, None)]),
    "fail late ones": lambda db: messages.fail_unconfirmed_everywhere(db, timeout=0.0, detail="x"),
    "resend late ones": lambda db: resumption.requeue_unconfirmed_everywhere(
        db, timeout=0.0, **HOPELESS
    ),
    "push again": lambda db: resumption.push_again(
        db, "acme", [InDoubt(1, SESSION, True, True, True, 0)], **TAKER, **HOPELESS
    ),
    "requeue by hand": lambda db: remedies.requeue(db, "acme", 1),
    "fail by hand": lambda db: remedies.fail(db, "acme", 2, "no more"),
    "expire": lambda db: expired(db),
    "report SIMs": lambda db: phones.report(
        db, [SessionRow("acme", SESSION, "device:handy", [SIM])]
    ),
    "end a session": lambda db: phones.end(db, [PHONE]),
    "leave": lambda db: phones.leave(db, "node"),
    "sweep": lambda db: phones.sweep_nodes_everywhere(db),
}


async def expired(database):
    return [ended async for ended in limits.expire_everywhere(database, 1)]


async def some_rows(database):
    await listening(database, "acme")
    await append(database, pushed(), ticket())
    await ask(database, "UPDATE messages SET created_at = now() - interval '1 hour' WHERE id = 2")
    await ask(database, "INSERT INTO nodes VALUES ('node', now() - interval '1 hour')")
    await phones.begin(database, "node", [PHONE])


async def one_waits(tx):
    """When somebody waits for a lock; a test that waits in vain is ended by the lock's timeout."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while await ask(tx, waiting) == [(0,)]:
        pass


@pytest.mark.parametrize("name", list(WAITING))
@pytest_twisted.ensureDeferred
async def test_a_statement_that_waits_for_the_counter_holds_nothing_else(database, conninfo, name):
    await some_rows(database)
    before = (await ask(database, "SELECT last_event FROM org_counters"))[0][0]
    others = await opened(conninfo, 1)
    waiting = []

    async def hold(tx):
        await tx.run(named("hold_counter"), org_id="acme")
        waiting.append(Deferred.fromCoroutine(WAITING[name](database)))
        await one_waits(tx)
        for table in ("messages", "sessions"):
            await ask(tx, f"SELECT 1 FROM {table} FOR UPDATE NOWAIT")

    try:
        await others.transaction("hold", hold)
        await waiting[0]
    finally:
        await others.close()
    assert (await ask(database, "SELECT last_event FROM org_counters"))[0][0] > before
