"""The table "When the connection drops" of the contract, line by line, on a real database."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, made_org, soon, sql, tickets
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.domain.records import Draft, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.resumption import due_in
from smsd.gateway.visit import Identity
from smsd.store.resumption import InDoubt

ME = Caller(ORG)
PLAIN = Identity("handy")
LEDGER = Identity("handy", keeps_ledger=True)
SIM = Sim(slot=0, number="+15550001")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def drop(node: Node, phone, *, receipt: bool) -> None:
    """The connection drops; with ``receipt`` the phone's socket had read everything."""
    if receipt:
        phone.visit.receipt(phone.mark)
    await node.leave(phone)


async def pass_time(node: Node, seconds: float) -> None:
    node.clock.advance(seconds)
    node.feeding.tick()
    await node.settled()


async def crash(database) -> None:
    """The gateway is killed: nothing of what it knew is written down, only its sessions go."""
    await sql(database, "DELETE FROM sessions")


@pytest.mark.parametrize(
    ("pushed", "received", "ledger", "keeps", "waited", "due"),
    [
        (True, False, True, True, 0, 0.0),
        (True, True, True, True, 0, 0.0),
        (False, False, True, True, 0, 0.0),
        (True, False, False, False, 0, 3.0),
        (True, False, False, False, 1200, 1.8),
        (True, False, False, False, 5000, 0.0),
        (True, True, False, False, 0, None),
        (False, False, False, False, 0, None),
        # It kept no ledger then, or keeps none now: nothing of it can be relied upon.
        (True, True, False, True, 0, None),
        (True, True, True, False, 0, None),
    ],
)
def test_what_is_known_of_a_push_says_when_it_is_due_again(
    pushed, received, ledger, keeps, waited, due
):
    ticket = InDoubt(1, "a-session", pushed, received, ledger, waited)
    assert due_in(ticket, keeps, 3.0) == (None if due is None else pytest.approx(due))


@pytest.mark.parametrize("receipt", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_ledger_phone_is_given_at_once_what_it_did_not_answer(node, org, database, receipt):
    phone = await node.come(identity=LEDGER)
    await node.send()
    await drop(node, phone, receipt=receipt)
    again = await node.come(identity=LEDGER)
    assert again.pushed == [1]
    assert (await sql(database, "SELECT attempts, ref FROM messages"))[0][0] == 2
    assert await node.result(again.visit, 1) == "settled"


@pytest_twisted.ensureDeferred
async def test_after_a_crash_a_ledger_phone_is_asked_and_a_plain_one_is_not(node, org, database):
    for identity, pushed in [(LEDGER, [1]), (PLAIN, [])]:
        phone = await node.come(identity=identity)
        await node.send()
        node.roster.leave(phone.visit)
        await crash(database)
        assert (await node.come(identity=identity)).pushed == pushed
        await pass_time(node, 60)
        await sql(database, "DELETE FROM messages")
        await sql(database, "UPDATE org_counters SET last_id = 0")
        for visit in node.roster.of(ORG):
            node.roster.leave(visit)


@pytest_twisted.ensureDeferred
async def test_a_plain_phone_is_given_again_after_the_grace_what_its_socket_never_read(node, org):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=False)
    again = await node.come(identity=PLAIN)
    await pass_time(node, 2.9)
    assert again.pushed == []
    await pass_time(node, 0.2)
    assert again.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_the_grace_adds_up_over_visits(node, org):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=False)
    for _ in range(2):
        brief = await node.come(identity=PLAIN)
        node.clock.advance(1.2)
        await node.leave(brief)
    again = await node.come(identity=PLAIN)
    await pass_time(node, 0.5)
    assert again.pushed == []
    await pass_time(node, 0.2)
    assert again.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_the_grace_is_over_when_the_phone_answers_something_newer(node, org):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=False)
    again = await node.come(identity=PLAIN)
    await node.send()
    assert again.pushed == [2]
    assert await node.result(again.visit, 2) == "settled"
    await pass_time(node, 0)
    assert again.pushed == [2, 1]


@pytest.mark.parametrize(
    ("priority", "apart", "over"), [(5, 0.0, False), (0, 0.0, True), (0, 1.0, True)]
)
@pytest_twisted.ensureDeferred
async def test_newer_is_what_was_pushed_later_and_not_what_has_the_greater_id(
    node, org, priority, apart, over
):
    phone = None if priority else await node.come(identity=PLAIN)
    await node.send()
    if priority:
        await soon(node.outbox.accept(ME, [Draft(to="+15550001111", body="x", priority=priority)]))
        phone = await node.come(identity=PLAIN)
        assert phone.pushed == [2, 1]
    else:
        node.clock.advance(apart)
        await node.send()
        assert phone.pushed == [1, 2]
    await drop(node, phone, receipt=False)
    again = await node.come(identity=PLAIN)
    assert await node.result(again.visit, 2) == "settled"
    await pass_time(node, 0)
    assert again.pushed == ([1] if over else [])
    await pass_time(node, 3)
    assert again.pushed == [1]


@pytest.mark.parametrize(
    ("later", "earlier", "behind"),
    [
        ((1, 1000, 0), (2, 998, 0), True),
        ((2, 1000, 0), (1, 1000, 0), True),
        ((1, 1000, 0), (2, 1000, 0), False),
        ((2, 1000, -5), (1, 1000, 0), False),
        ((2, 1001, -5), (1, 1000, 0), False),
        ((2, 998, 0), (1, 1000, 0), False),
    ],
)
def test_which_of_two_was_pushed_behind_the_other(later, earlier, behind):
    def doubt(id_, pushed_ms, rank):
        return InDoubt(id_, "a-session", True, False, False, 0, pushed_ms, rank)

    assert doubt(*later).was_pushed_behind(doubt(*earlier)) is behind


@pytest_twisted.ensureDeferred
async def test_a_plain_phone_that_answers_late_is_not_given_it_again(node, org, database):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=False)
    again = await node.come(identity=PLAIN)
    assert await node.result(again.visit, 1) == "settled"
    await pass_time(node, 60)
    assert again.pushed == []
    assert await tickets(database) == {1: "sent"}


@pytest_twisted.ensureDeferred
async def test_what_a_plain_phone_has_read_is_never_pushed_again(node, org, database):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=True)
    again = await node.come(identity=PLAIN)
    await pass_time(node, 60)
    assert again.pushed == []
    assert await tickets(database) == {1: "sending"}


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ((PLAIN, SIM), (PLAIN, Sim(slot=0, number="+1999")), True),
        ((PLAIN, SIM), (Identity("other"), SIM), False),
        ((Identity(), SIM), (Identity(), Sim(slot=3, number="1 555 0001")), True),
        ((Identity(), SIM), (Identity(), Sim(slot=0, number="+1999")), False),
        ((Identity(), SIM), (Identity(), Sim(slot=0)), False),
        ((Identity(), Sim(slot=0)), (Identity(), Sim(slot=1)), True),
        ((Identity(), Sim(slot=0)), (Identity(), SIM), False),
        ((Identity(), Sim(slot=0)), (Identity("other"), Sim(slot=0)), False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_that_phone_is_the_same_device_or_has_a_number_in_common_or_says_as_little(
    node, org, before, after, same
):
    identity, sim = before
    phone = await node.come(None, sim, identity=identity)
    await node.send()
    await drop(node, phone, receipt=False)
    identity, sim = after
    again = await node.come(None, sim, identity=identity)
    await pass_time(node, 4)
    assert again.pushed == ([1] if same else [])


@pytest_twisted.ensureDeferred
async def test_a_phone_that_is_back_before_its_old_session_is_over_is_still_given_it(node, org):
    """The newer session of a device replaces the older, half-open one."""
    old = await node.come(identity=LEDGER)
    await node.send()
    new = await node.come(identity=LEDGER)
    assert old.closed == ["replaced"]
    assert new.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_a_ticket_taken_five_times_and_never_answered_is_undeliverable(node, org, database):
    for _ in range(5):
        phone = await node.come(identity=LEDGER)
        if not phone.pushed:
            await node.send()
        assert phone.pushed == [1]
        await drop(node, phone, receipt=True)
    phone = await node.come(identity=LEDGER)
    assert phone.pushed == []
    found = await sql(database, "SELECT status, error, attempts FROM messages")
    assert found == [("failed", "undeliverable", 5)]
    pushes = node.attendance.pushes
    assert (pushes.pushes, pushes.again, node.resumption.undeliverable) == (5, 4, 1)


@pytest_twisted.ensureDeferred
async def test_pushes_that_nobody_read_do_not_make_a_ticket_undeliverable(node, org):
    phone = await node.come(identity=LEDGER)
    await node.send()
    for _ in range(8):
        assert phone.pushed == [1]
        await drop(node, phone, receipt=False)
        phone = await node.come(identity=LEDGER)
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_what_is_pushed_again_holds_nobody_up_and_keeps_the_limits(node, org):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=False)
    again = await node.come(identity=PLAIN)
    accepted = await node.send()
    assert [ticket.status for ticket in accepted.results] == ["sending"]
    assert again.pushed == [2]
    again.writable = False
    await pass_time(node, 10)
    assert again.pushed == [2]
    again.writable = True
    await pass_time(node, 0)
    assert again.pushed == [2, 1]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_leaves_while_it_is_given_a_ticket_again_is_given_it_the_next_time(
    node, org, database
):
    phone = await node.come(identity=LEDGER)
    await node.send()
    await drop(node, phone, receipt=False)
    with node.database.answers_held("push_again") as gate:
        coming = Deferred.fromCoroutine(node.attendance.begin(org, LEDGER, phone))
        visit = await soon(coming)
        node.attendance.serve(visit)
        await soon(gate.reached)
        node.attendance.end(visit, "a test")
    await node.settled()
    assert await tickets(database) == {1: "sending"}
    assert (await node.come(identity=LEDGER)).pushed == [1]


@pytest_twisted.ensureDeferred
async def test_unconfirmed_tickets_wait_again_where_the_setting_says_resend(node, org, database):
    node.upkeep.unconfirmed = "resend"
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=True)
    await sql(database, "UPDATE messages SET handed_at = handed_at - interval '601 seconds'")
    other = await node.come(identity=Identity("other"))
    await node.upkeep._end_late()
    await node.settled()
    assert other.pushed == [1]
    found = await sql(database, "SELECT status, attempts, receipted FROM messages")
    assert found == [("sending", 2, 1)]


async def until_idle(node: Node, database) -> None:
    """Let what is tried again be tried, as time passes."""
    idle = Deferred.fromCoroutine(node.spawn.idle())
    while not idle.called:
        node.clock.advance(1)
        await sql(database, "SELECT 1")


@pytest_twisted.ensureDeferred
async def test_a_phone_that_returns_while_the_database_is_away_is_still_given_its_tickets(
    node, org, database
):
    phone = await node.come(identity=LEDGER)
    await node.send()
    await drop(node, phone, receipt=True)
    node.database.fail("find_owed", Unavailable())
    visit = await soon(node.attendance.begin(org, LEDGER, phone))
    node.attendance.serve(visit)
    await until_idle(node, database)
    assert phone.pushed == [1, 1]


@pytest_twisted.ensureDeferred
async def test_time_on_line_counts_though_it_could_not_be_written_down_at_once(node, org, database):
    phone = await node.come(identity=PLAIN)
    await node.send()
    await drop(node, phone, receipt=False)
    brief = await node.come(identity=PLAIN)
    node.clock.advance(2.5)
    node.database.fail("note_waits", Unavailable())
    node.attendance.end(brief.visit, "a test")
    await until_idle(node, database)
    assert await sql(database, "SELECT waited_ms FROM messages") == [(2500,)]
