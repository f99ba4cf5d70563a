"""Reports on whether an SMS arrived: whenever they come, however often, only where asked for."""

from __future__ import annotations

import pytest
import pytest_twisted
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets, together
from twisted.internet.defer import Deferred

from smsd.domain.records import Delivery, Draft, Result, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.visit import Identity

SIM = Sim(slot=0, number="+15550001")
SENT_AT, ARRIVED_AT = 1_700_000_000_000, 1_700_000_005_000


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


async def accept(node: Node, *receipts: bool | None):
    drafts = [Draft(to="+15550001111", body="hi", receipt=receipt) for receipt in receipts]
    return await soon(node.outbox.accept(Caller(ORG), drafts))


async def report(node: Node, phone, id_: int = 1, delivered: bool = True, **more) -> str:
    delivery = Delivery(org_id=ORG, id=id_, delivered=delivered, **more)
    return await soon(node.results.take_delivery(phone.visit, delivery))


async def row(database, id_: int = 1):
    columns = """status, error, error_detail, (extract(epoch FROM sent_at) * 1000)::bigint,
        (extract(epoch FROM delivered_at) * 1000)::bigint"""
    (found,) = await sql(database, f"SELECT {columns} FROM messages WHERE id = %(id)s", id=id_)
    return found


@pytest_twisted.ensureDeferred
async def test_the_phone_is_asked_to_report_and_what_it_reports_is_the_state(node, org, database):
    given = []
    phone = await node.come(RecordingPhone(pushed=given.extend), SIM)
    await accept(node, True, None, False)
    assert [ticket.receipt for ticket in given] == [True, False, False]
    assert await node.result(phone.visit, 1, sent_at=SENT_AT) == "settled"
    assert await row(database) == ("sent", None, None, SENT_AT, None)
    assert await report(node, phone, at=ARRIVED_AT) == "settled"
    assert await row(database) == ("delivered", None, None, SENT_AT, ARRIVED_AT)


@pytest_twisted.ensureDeferred
async def test_what_is_claimed_is_asked_for_too(node, org, database):
    given = []
    await accept(node, True, None)
    await node.come(RecordingPhone(pushed=given.extend), SIM)
    assert [ticket.receipt for ticket in given] == [True, False]


@pytest_twisted.ensureDeferred
async def test_what_is_pushed_again_is_asked_for_again(node, org, database):
    given, ledger = [], Identity("handy", keeps_ledger=True)
    phone = await node.come(None, SIM, identity=ledger)
    await accept(node, True)
    await node.leave(phone)
    await node.come(RecordingPhone(pushed=given.extend), SIM, identity=ledger)
    assert [(ticket.receipt, ticket.attempt) for ticket in given] == [(True, 2)]


@pytest_twisted.ensureDeferred
async def test_a_report_before_the_result_says_that_it_was_sent(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, True, True)
    assert await report(node, phone, 1, at=ARRIVED_AT) == "settled"
    assert await report(node, phone, 2, False, at=ARRIVED_AT, error="absent") == "settled"
    assert await row(database, 1) == ("delivered", None, None, ARRIVED_AT, ARRIVED_AT)
    assert await row(database, 2) == ("sent", "undelivered", "absent", ARRIVED_AT, None)
    assert not phone.visit.has(1)
    for id_ in (1, 2):
        assert await node.result(phone.visit, id_, False, error="late") == "repeated"
        assert await node.result(phone.visit, id_, sent_at=SENT_AT) == "repeated"
    assert await tickets(database) == {1: "delivered", 2: "sent"}


@pytest_twisted.ensureDeferred
async def test_a_report_that_it_did_not_arrive_leaves_it_sent_and_says_so(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, True)
    await node.result(phone.visit, 1, sent_at=SENT_AT)
    assert await report(node, phone, 1, False, error="no such number") == "settled"
    assert await row(database) == ("sent", "undelivered", "no such number", SENT_AT, None)
    assert await report(node, phone, 1, False, error="again") == "repeated"
    assert (await row(database))[2] == "no such number"
    assert await report(node, phone, 1, at=ARRIVED_AT) == "settled"
    assert await row(database) == ("delivered", None, None, SENT_AT, ARRIVED_AT)
    assert await report(node, phone, 1, False) == "repeated"
    assert await row(database) == ("delivered", None, None, SENT_AT, ARRIVED_AT)


@pytest_twisted.ensureDeferred
async def test_a_repeated_report_changes_nothing(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, True)
    assert await report(node, phone, at=ARRIVED_AT) == "settled"
    assert await report(node, phone, at=ARRIVED_AT + 1) == "repeated"
    assert (await row(database))[4] == ARRIVED_AT
    counted = {what: n for what, n in node.results.outcomes.items() if n}
    assert counted == {"delivered": 1, "repeated": 1}


@pytest_twisted.ensureDeferred
async def test_one_that_nobody_asked_for_changes_nothing(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, None, False)
    for id_ in (1, 2):
        assert await report(node, phone, id_) == "ignored"
    assert await tickets(database) == {1: "sending", 2: "sending"}


@pytest_twisted.ensureDeferred
async def test_one_of_a_ticket_that_no_phone_was_given_is_unknown(node, org, database):
    await accept(node, True)
    await sql(database, "UPDATE messages SET sim_key = 'another'")
    phone = await node.come(None, SIM)
    assert await report(node, phone, 1) == "unknown"
    assert await report(node, phone, 99) == "unknown"
    assert await tickets(database) == {1: "queued"}


@pytest_twisted.ensureDeferred
async def test_another_ref_than_the_tickets_is_no_word_about_it(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, True)
    assert await report(node, phone, ref="another") == "ignored"
    ((ref,),) = await sql(database, "SELECT ref FROM messages")
    assert await report(node, phone, ref=ref) == "settled"


@pytest.mark.parametrize("ended", ["failed", "expired"])
@pytest_twisted.ensureDeferred
async def test_what_arrived_had_been_sent_whatever_was_believed(node, org, database, ended):
    phone = await node.come(None, SIM)
    await accept(node, True)
    change = {
        "failed": "status = 'failed', error = 'unconfirmed', error_detail = 'late'",
        "expired": "status = 'expired', expires_at = now()",
    }
    await sql(database, f"UPDATE messages SET {change[ended]}")
    assert await report(node, phone, 1, False) == "repeated"
    assert await tickets(database) == {1: ended}
    assert await report(node, phone, 1, at=ARRIVED_AT) == "settled"
    assert await row(database) == ("delivered", None, None, ARRIVED_AT, ARRIVED_AT)


@pytest_twisted.ensureDeferred
async def test_a_report_said_behind_its_result_is_written_behind_it(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, *[True] * 20)
    said = []
    for id_ in range(1, 21):
        result = Result(org_id=ORG, id=id_, success=True, sent_at=SENT_AT)
        delivery = Delivery(org_id=ORG, id=id_, delivered=True, at=ARRIVED_AT)
        said += [node.results.take(phone.visit, result)]
        said += [node.results.take_delivery(phone.visit, delivery)]
    assert await together(*said) == ["settled"] * 40
    for id_ in range(1, 21):
        assert await row(database, id_) == ("delivered", None, None, SENT_AT, ARRIVED_AT)
    assert node.database.run_names["settle_deliveries"] == 1


@pytest_twisted.ensureDeferred
async def test_of_many_reports_at_once_each_ticket_takes_the_best(node, org, database):
    phone = await node.come(None, SIM)
    await accept(node, True, True)
    said = [(2, False), (1, False), (1, True), (7, True)]
    with node.database.held("settle_deliveries", most=1) as gate:
        waiting = Deferred.fromCoroutine(
            together(*[report(node, phone, id_, arrived) for id_, arrived in said])
        )
        await soon(gate.reached)
    assert await soon(waiting) == ["settled", "repeated", "settled", "unknown"]
    assert await tickets(database) == {1: "delivered", 2: "sent"}
