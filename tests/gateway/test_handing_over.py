"""From an agent's wish to a phone: order, limits and who gets what (contract sections 3 and 5)."""

from __future__ import annotations

import psycopg2
import pytest
import pytest_twisted
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets, together
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.domain.records import Sim
from smsd.gateway.visit import Identity, Limits

ONE, TWO = Sim(slot=0, number="+1 555 0001"), Sim(slot=1, number="+15550002")


@pytest_twisted.async_fixture
async def org(database):
    return await made_org(database)


def statuses(accepted) -> list[str]:
    return [ticket.status for ticket in accepted.results]


@pytest_twisted.ensureDeferred
async def test_a_ticket_for_a_phone_on_line_is_pushed_at_once(node, org, database):
    phone = await node.come()
    accepted = await node.send()
    assert (accepted.device_online, statuses(accepted)) == (True, ["sending"])
    assert phone.pushed == [1]
    assert await tickets(database) == {1: "sending"}
    assert await node.result(phone.visit, 1) == "settled"
    assert await tickets(database) == {1: "sent"}


@pytest_twisted.ensureDeferred
async def test_a_ticket_waits_for_a_phone_and_goes_by_itself(node, org, database):
    accepted = await node.send()
    assert (accepted.device_online, statuses(accepted)) == (False, ["queued"])
    phone = await node.come()
    assert phone.pushed == [1]
    assert await tickets(database) == {1: "sending"}


@pytest_twisted.ensureDeferred
async def test_nothing_is_pushed_before_the_phone_was_greeted(node, org):
    await node.send()
    phone = await node.come(greeted=False)
    accepted = await node.send()
    assert statuses(accepted) == ["queued"]
    assert phone.pushed == []
    node.attendance.serve(phone.visit)
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_ticket_is_committed_before_it_is_pushed(node, org, conninfo):
    seen = []
    with psycopg2.connect(conninfo) as other, other.cursor() as cursor:
        other.autocommit = True

        def look(pushed):
            for ticket in pushed:
                cursor.execute(
                    "SELECT status, attempts FROM messages WHERE org_id = %s AND id = %s",
                    (ticket.org_id, ticket.id),
                )
                seen.append(cursor.fetchone())

        await node.send()
        phone = await node.come(RecordingPhone(pushed=look))
        await node.send(None, None)
        assert phone.pushed == [1, 2, 3]
    other.close()
    assert seen == [("sending", 1)] * 3


@pytest_twisted.ensureDeferred
async def test_a_number_a_slot_and_anyone_reach_the_right_phones(node, org, database):
    first = await node.come(None, ONE)
    second = await node.come(None, Sim(slot=0, number="+15550009"), TWO)
    accepted = await node.send("+15550009", "+1-555-0001", "0", 1, None, "15550002", "+4999")
    assert statuses(accepted) == ["sending"] * 6 + ["queued"]
    assert (first.pushed, second.pushed) == ([2, 3, 5], [1, 4, 6])
    rows = await sql(database, "SELECT id, sim_slot, sim_number FROM messages ORDER BY id")
    assert rows == [
        (1, 0, "+15550009"),
        (2, 0, "+1 555 0001"),
        (3, 0, "+1 555 0001"),
        (4, 1, "+15550002"),
        (5, 0, "+1 555 0001"),
        (6, 1, "+15550002"),
        (7, None, "+4999"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_ticket_waits_for_its_sim_and_holds_up_nobody(node, org, database):
    phone = await node.come(None, ONE)
    assert statuses(await node.send("+4999", None, 7, None)) == [
        "queued",
        "sending",
        "queued",
        "sending",
    ]
    late = await node.come(None, Sim(slot=7, number="+4999"))
    assert (phone.pushed, late.pushed) == ([2, 4], [1, 3])


@pytest_twisted.ensureDeferred
async def test_device_online_is_true_where_one_of_the_tickets_could_go(node, org):
    await node.come(None, ONE)
    assert (await node.send("+4999")).device_online is False
    assert (await node.send("+4999", "0")).device_online is True


@pytest_twisted.ensureDeferred
async def test_the_next_phone_takes_over_what_waits_when_the_first_leaves(node, org, database):
    first, second = await node.come(None, ONE), await node.come(None, ONE)
    assert first.closed == ["replaced"], "two phones that share a number are one"
    third = await node.come()
    first, third = second, third
    first.writable = False
    assert statuses(await node.send()) == ["queued"]
    assert third.pushed == []
    await node.leave(first)
    assert third.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_a_thousand_tickets_all_reach_a_phone_that_comes(database, clock, hashing, org):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=8, unanswered=20))
    assert set(statuses(await node.send(*[None] * 1000))) == {"queued"}
    phone = await node.come()
    assert len(phone.pushed) == 8
    done = 0
    while done < 1000:
        open_, unreceipted = len(phone.pushed) - done, len(phone.visit._unreceipted)
        assert 0 < open_ <= 20
        assert unreceipted <= 8
        answered = phone.pushed[done : done + 7]
        await together(*(node.result(phone.visit, id_) for id_ in answered))
        done += len(answered)
        await node.settled()
    assert phone.pushed == list(range(1, 1001))
    assert set((await tickets(database)).values()) == {"sent"}


@pytest_twisted.ensureDeferred
async def test_with_limits_of_one_tickets_go_one_by_one(database, clock, hashing, org):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=1, unanswered=1))
    phone = await node.come()
    assert statuses(await node.send(None, None, None)) == ["sending", "queued", "queued"]
    for id_ in (1, 2, 3):
        assert phone.pushed[-1] == id_
        node_receipt(node, phone)
        await node.settled()
        assert phone.pushed[-1] == id_, "a receipt is not a result"
        await node.result(phone.visit, id_, id_ != 2)
        await node.settled()
    assert list((await tickets(database)).values()) == ["sent", "failed", "sent"]


def node_receipt(node, phone) -> None:
    phone.visit.receipt(phone.mark)
    node.feeding.feed(phone.visit)


@pytest_twisted.ensureDeferred
async def test_the_window_is_opened_by_receipts(database, clock, hashing, org):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=2, unanswered=5))
    phone = await node.come()
    await node.send(*[None] * 9)
    assert phone.pushed == [1, 2]
    for pushed in (4, 5):
        node_receipt(node, phone)
        await node.settled()
        assert len(phone.pushed) == pushed
    node_receipt(node, phone)
    await node.settled()
    assert len(phone.pushed) == 5, "no result has come"


@pytest_twisted.ensureDeferred
async def test_a_phone_that_reads_and_never_answers_still_gets_every_ticket(
    database, clock, hashing, org
):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=5, unanswered=5))
    phone = await node.come()
    await node.send(*[None] * 12)
    for pushed in (5, 10, 12):
        assert len(phone.pushed) == pushed
        node_receipt(node, phone)
        clock.advance(59.9)
        node.feeding.tick()
        await node.settled()
        assert len(phone.pushed) == pushed
        clock.advance(0.1)
        node.feeding.tick()
        await node.settled()
    assert set((await tickets(database)).values()) == {"sending"}


@pytest_twisted.ensureDeferred
async def test_nothing_is_written_while_the_transport_is_paused(node, org, database):
    phone = await node.come()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        phone.writable = False
    assert statuses(await sending) == ["sending"], "it is the session's"
    assert statuses(await node.send()) == ["queued"]
    assert phone.pushed == []
    phone.writable = True
    phone.visit.write_held()
    node.feeding.feed(phone.visit)
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_was_not_written_when_the_phone_left_waits_again(node, org, database):
    phone = await node.come()
    await node.send()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        phone.writable = False
    await sending
    await node.leave(phone)
    assert await tickets(database) == {1: "sending", 2: "queued"}
    assert await sql(database, "SELECT attempts FROM messages ORDER BY id") == [(1,), (0,)]
    assert (await node.come()).pushed == [2]


@pytest_twisted.ensureDeferred
async def test_a_ticket_whose_phone_leaves_while_it_is_stored_waits_again(node, org, database):
    phone = await node.come()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send(None, None))
        await soon(gate.reached)
        node.attendance.end(phone.visit, "a test")
    accepted = await sending
    await node.settled()
    assert statuses(accepted) == ["queued"] * 2
    assert await tickets(database) == {1: "queued", 2: "queued"}
    assert (await node.come()).pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_ticket_whose_phone_leaves_while_it_is_claimed_waits_again(node, org, database):
    await node.send()
    with node.database.answers_held("claim_tickets") as gate:
        coming = Deferred.fromCoroutine(node.come(phone := RecordingPhone()))
        await soon(gate.reached)
        node.attendance.end(phone.visit, "a test")
    await coming
    await node.settled()
    assert phone.pushed == []
    assert await tickets(database) == {1: "queued"}


@pytest_twisted.ensureDeferred
async def test_a_database_that_is_away_gives_the_promised_place_back(node, org, database):
    phone = await node.come()
    node.database.fail("append_messages", Unavailable())
    with pytest.raises(Unavailable):
        await node.send(*[None] * 64)
    assert phone.visit.places == 64
    assert statuses(await node.send()) == ["sending"]
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_what_is_put_back_while_the_database_is_away_is_put_back_later(
    node, org, database, clock
):
    phone = await node.come()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        node.database.fail("end_pushes", Unavailable())
        node.attendance.end(phone.visit, "a test")
    with pytest.raises(Unavailable):  # the agent is not kept waiting for the database
        await soon(sending)
    idle = Deferred.fromCoroutine(node.spawn.idle())
    while not idle.called:
        clock.advance(1)
        await sql(database, "SELECT 1")
    assert await tickets(database) == {1: "queued"}


@pytest_twisted.ensureDeferred
async def test_a_new_ticket_does_not_overtake_those_that_are_being_stored(node, org):
    phone = await node.come()
    phone.writable = False
    with node.database.held("append_messages") as gate:
        first = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        phone.writable = True
        second = Deferred.fromCoroutine(node.send())
    assert statuses(await first) == ["queued"]
    assert statuses(await second) == ["queued"]
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_what_waits_does_not_overtake_a_ticket_that_was_promised_a_place(
    database, clock, hashing, org
):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=2, unanswered=2))
    phone = await node.come()
    await node.send()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send(None, None))
        await soon(gate.reached)
        await node.result(phone.visit, 1)
        node.feeding.tick()
        await node.settled()
    assert statuses(await sending) == ["sending", "queued"]
    await node.settled()
    assert phone.pushed == [1, 2, 3]


@pytest_twisted.ensureDeferred
async def test_a_place_that_is_free_when_the_statement_goes_out_is_soon_enough(
    database, clock, hashing, org
):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=1, unanswered=2))
    phone = await node.come()
    await node.send()
    with node.database.answers_held("append_messages") as gate:
        elsewhere = Deferred.fromCoroutine(node.send("+15559999999"))
        await soon(gate.reached)
        second = Deferred.fromCoroutine(node.send())
        assert phone.visit.places == 0, "the first has the only place"
        phone.visit.receipt(phone.mark)
    assert statuses(await elsewhere) == ["queued"]
    assert statuses(await second) == ["sending"]
    assert phone.pushed == [1, 3]


@pytest_twisted.ensureDeferred
async def test_a_place_is_free_when_the_result_has_come_and_before_it_is_stored(
    database, clock, hashing, org
):
    node = Node(database, clock, hashing=hashing, limits=Limits(window=1, unanswered=1))
    phone = await node.come()
    await node.send()
    with node.database.held("settle_results") as gate:
        settling = Deferred.fromCoroutine(node.result(phone.visit, 1))
        await soon(gate.reached)
        assert statuses(await node.send()) == ["sending"]
        assert phone.pushed == [1, 2]
        assert phone.visit.has(1), "until it is stored"
    assert await settling == "settled"
    assert await tickets(database) == {1: "sent", 2: "sending"}


@pytest_twisted.ensureDeferred
async def test_a_claim_that_just_missed_a_ticket_does_not_leave_it_waiting(node, org):
    await node.send()
    phone = RecordingPhone()
    with node.database.answers_held("claim_tickets") as gate:
        coming = Deferred.fromCoroutine(node.come(phone))
        await soon(gate.reached)
        assert statuses(await node.send()) == ["queued"]
    await coming
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_a_new_ticket_does_not_overtake_one_that_waits_for_a_sim_just_reported(node, org):
    """The phone serves its SIMs from its report on, so what waits for them comes first at once,
    and not only after the report is stored."""
    await node.send("+15550001")
    phone = await node.come()
    with node.database.held("report_sims") as gate:
        reporting = Deferred.fromCoroutine(node.attendance.report(phone.visit, [ONE]))
        await soon(gate.reached)
        await node.send("+15550001")
        await node.settled()
    await soon(reporting)
    await node.settled()
    assert phone.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_an_heir_gets_what_the_phone_that_left_had_not_got_first(node, org):
    first, second = await node.come(), await node.come()
    with node.database.answers_held("append_messages", most=1) as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        node.attendance.end(first.visit, "a test")
        later = Deferred.fromCoroutine(node.send())
        holding = node.database.held("end_pushes")
        putting_back = holding.__enter__()
    await soon(putting_back.reached)
    await soon(later)
    holding.__exit__(None, None, None)
    await sending
    await node.settled()
    assert first.pushed == []
    assert second.pushed == [1, 2]


@pytest_twisted.ensureDeferred
async def test_an_heir_gets_what_was_held_for_the_phone_that_left_first(node, org):
    first, second = await node.come(), await node.come()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        first.writable = False
    await sending
    with node.database.held("end_pushes") as gate:
        node.attendance.end(first.visit, "a test")
        await soon(gate.reached)
        await node.send()
    await node.settled()
    assert second.pushed == [1, 2]

    """Else a phone whose result came late, or on another session, would send it twice."""
    phone = await node.come()
    with node.database.answers_held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        phone.writable = False
    await sending
    other = await node.come()
    assert await node.result(other.visit, 1) == "settled"
    phone.writable = True
    phone.visit.write_held()
    assert phone.pushed == []


@pytest_twisted.ensureDeferred
async def test_two_nodes_never_claim_the_same_ticket(database, clock, hashing, org):
    one, two = (
        Node(database, clock, name=f"node-{n}", hashing=hashing, limits=Limits(30, 30))
        for n in (1, 2)
    )
    await one.send(*[None] * 300)
    first, second = RecordingPhone(), RecordingPhone()
    await together(one.come(first), two.come(second))
    answered = 0
    while answered < 300:
        answered = len(first.pushed) + len(second.pushed)
        await together(
            *(
                n.result(phone.visit, id_)
                for n, phone in ((one, first), (two, second))
                for id_ in phone.pushed
                if id_ in phone.visit._open
            )
        )
        await one.settled()
        await two.settled()
    assert sorted(first.pushed + second.pushed) == list(range(1, 301))
    assert set((await tickets(database)).values()) == {"sent"}


@pytest_twisted.ensureDeferred
async def test_the_poll_finds_what_another_node_has_queued(database, clock, hashing, org):
    one = Node(database, clock, hashing=hashing)
    two = Node(database, clock, name="node-2", hashing=hashing)
    phone = await one.come()
    await two.send()
    assert phone.pushed == []
    await one.feeding.poll()
    await one.settled()
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_a_gateway_that_shuts_down_pushes_nothing_new(node, org, database):
    phone = await node.come()
    node.feeding.close()
    assert statuses(await node.send()) == ["queued"]
    node.feeding.tick()
    await node.settled()
    assert phone.pushed == []


@pytest_twisted.ensureDeferred
async def test_orgs_do_not_see_each_others_tickets(node, org, database):
    await made_org(database, "other-org")
    phone = await node.come(org_id="other-org")
    assert statuses(await node.send()) == ["queued"]
    assert phone.pushed == []
    assert await node.result(phone.visit, 1, org_id="other-org") == "unknown"
    assert await tickets(database, ORG) == {1: "queued"}


# -- looking for what waits ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_phone_that_reports_sims_while_we_look_costs_no_claim_where_nothing_waits(
    node, org
):
    with node.database.answers_held("waiting_orgs", most=1) as gate:
        phone = await begun(node, org)
        await soon(gate.reached)
        await soon(node.attendance.report(phone.visit, [ONE]))
    await node.settled()
    assert node.database.run_names["claim_tickets"] == 0
    assert statuses(await node.send()) == ["sending"]


@pytest_twisted.ensureDeferred
async def test_what_is_queued_while_we_look_is_found_though_the_answer_says_that_nothing_waits(
    node, org
):
    with node.database.answers_held("waiting_orgs", most=1) as gate:
        phone = await begun(node, org)
        await soon(gate.reached)
        assert statuses(await node.send()) == ["queued"]
        assert phone.pushed == []
    await node.settled()
    assert phone.pushed == [1]


@pytest_twisted.ensureDeferred
async def test_nobody_asks_whether_something_waits_where_that_is_known(
    database, clock, hashing, org
):
    """What was queued before the phone came is asked for; what was queued under its eyes, or was
    behind a full claim, is claimed at once."""
    node = Node(database, clock, hashing=hashing, limits=Limits(window=5, unanswered=2))
    phone = await node.come()
    asked = node.database.run_names["waiting_orgs"]
    await node.send(*[None] * 5)
    for id_ in range(1, 6):
        await node.result(phone.visit, id_)
        await node.settled()
    assert phone.pushed == [1, 2, 3, 4, 5]
    assert node.database.run_names["waiting_orgs"] == asked
    assert (phone.visit.backlog, phone.visit.laden) == (False, False)


@pytest_twisted.ensureDeferred
async def test_a_claim_is_not_made_again_and_again_while_a_ticket_is_being_stored(
    node, org, database
):
    """The org has something that waits, but not for this phone, which is fed when it was greeted
    and, unless that still goes on, when it is known what it was given before."""
    await node.send("+1 555 0009")
    with node.database.held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await soon(gate.reached)
        phone = await begun(node, org)
        while node.database.under_way > 1 and node.database.run_names["claim_tickets"] < 10:
            await sql(database, "SELECT 1")
        asked = node.database.run_names["claim_tickets"]
    await sending
    await node.settled()
    assert phone.pushed == [2]
    assert asked in (1, 2)


async def begun(node: Node, org) -> RecordingPhone:
    """A phone that was greeted just now; what follows from it is under way."""
    phone = RecordingPhone()
    phone.visit = await soon(node.attendance.begin(org, Identity(), phone))
    node.attendance.serve(phone.visit)
    return phone
