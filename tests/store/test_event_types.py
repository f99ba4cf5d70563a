"""No step goes untold: whatever changes a ticket or a session writes its event with it."""

import pytest_twisted
from seed import append, claimed, pushed, ticket

from smsd.domain.happenings import TYPES
from smsd.domain.records import Delivery
from smsd.store import deliveries, events, schedule
from smsd.store.statements import all_statements

#: A restore's: all cursors have missed something after it, and no gateway runs meanwhile.
UNHEARD = {"forget_nodes_everywhere", "fail_pending_everywhere"}
STEPS = (
    "INSERT INTO messages",
    "SET status =",
    "INSERT INTO sessions",
    "UPDATE sessions",
    "DELETE FROM sessions",
    "DELETE FROM nodes",
)


def test_every_statement_that_takes_a_step_writes_events():
    steps = {
        name: "INSERT INTO events" in statement.sql
        for name, statement in all_statements().items()
        if any(step in statement.sql for step in STEPS)
    }
    assert {name for name, told in steps.items() if not told} == UNHEARD
    assert len(steps) > 15


async def told(database):
    page = await events.read(database, "acme", 0, 100)
    return [event.type for event in page.events]


@pytest_twisted.ensureDeferred
async def test_a_report_that_it_arrived_is_told(database):
    await claimed(database, "acme")
    await append(database, pushed(receipt=True))
    await events.listen(database, "acme", 60)
    report = Delivery(org_id="acme", id=1, delivered=True)
    assert await deliveries.settle(database, [report]) == ["settled"]
    assert await told(database) == ["ticket.delivered"]


@pytest_twisted.ensureDeferred
async def test_a_ticket_whose_time_is_over_is_told(database):
    await claimed(database, "acme")
    await append(database, ticket(expires_at=1_000_000_000_000))
    await events.listen(database, "acme", 60)
    assert [due.status async for batch in schedule.pass_everywhere(database) for due in batch] == [
        "expired"
    ]
    assert await told(database) == ["ticket.expired"]


def test_there_is_a_type_for_all_that_is_told():
    assert {"ticket.delivered", "ticket.expired", "ticket.cancelled"} < set(TYPES)
