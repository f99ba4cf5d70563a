"""Contract sections 3 and 5 over the wire: who gets a ticket, in which order, and what ends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from canaries import canaries
from console import DOCS, hold
from daemon import Daemon, new_home
from handset import Handset
from test_whole_pages import terminal
from visitors import Org, Phone, problem, until

pytestmark = pytest.mark.whole


def tickets_heard(phone: Phone) -> list[int]:
    """The tickets that the phone has been given and not told us of yet."""
    return [frame["id"] for frame in phone.hear_all_before_pong() if frame["type"] == "send_sms"]


def gets(phone: Phone, ticket: int) -> None:
    """The phone is given this ticket, and sends it."""
    frame = phone.hear()
    assert (frame["type"], frame["id"]) == ("send_sms", ticket)
    phone.confirm(ticket)


def at_rest(org: Org, phone: Phone) -> None:
    """Nothing waits for the phone any more, so that the next ticket goes out at once."""
    while True:
        answer = org.send()["results"][0]
        gets(phone, answer["id"])
        org.settled(answer["id"])
        if answer["status"] == "sending":
            return


def many(org: Org, number: int, **more: Any) -> list[int]:
    drafts = [{"to": canaries.number(), "body": canaries.text()} for _ in range(number)]
    return [result["id"] for result in org.send(messages=drafts, **more)["results"]]


# -- who gets it --


def test_a_number_goes_to_the_phone_that_reports_it(org: Org) -> None:
    one, two = canaries.number(), canaries.number()
    with org.phone({"slot": 0, "number": one}), org.phone({"slot": 0, "number": two}) as phone:
        ticket = org.ticket(sim=two)
        gets(phone, ticket)
        assert org.settled(ticket)["sim_number"] == two
        ticket = org.ticket(sim=f"{two[1:4]}-{two[4:]}")
        gets(phone, ticket)
        assert org.settled(ticket)["sim_number"] == two


def test_a_slot_goes_to_the_first_connected_phone_that_reports_it(org: Org) -> None:
    with (
        org.phone({"slot": 0}) as zero,
        org.phone({"slot": 1}) as first,
        org.phone({"slot": 1}) as second,
    ):
        gets(first, org.ticket(sim=1))
        gets(first, org.ticket(sim="1"))
        gets(zero, org.ticket(sim=0))
        assert tickets_heard(second) == []


def test_no_sim_goes_to_the_first_connected_phone_even_before_its_sims(org: Org) -> None:
    with org.phone() as first, org.phone({"slot": 0, "number": canaries.number()}) as second:
        gets(first, org.ticket())
        gets(first, org.ticket(sim=None))
        assert tickets_heard(second) == []


def test_when_the_first_has_gone_the_second_is_first(org: Org) -> None:
    with org.phone({"slot": 0}) as first, org.phone({"slot": 0}) as second:
        gets(first, org.ticket(sim=0))
        first.socket.close()
        until(lambda: org.sims()["online_devices"] == 1)
        gets(second, org.ticket(sim=0))


def test_nobody_fits_and_the_ticket_waits_for_the_sim_that_was_asked_for(org: Org) -> None:
    number = canaries.number()
    with org.phone({"slot": 0, "number": canaries.number()}) as other:
        answer = org.send(sim=number)
        assert (answer["device_online"], answer["results"][0]["status"]) == (False, "queued")
        ticket = answer["results"][0]["id"]
        assert tickets_heard(other) == []
        with org.phone({"slot": 3, "number": number}) as phone:
            gets(phone, ticket)
            row = org.settled(ticket)
            assert (row["sim_slot"], row["sim_number"]) == (3, number)


def test_device_online_says_whether_a_connected_phone_could_serve_one_of_them(org: Org) -> None:
    number = canaries.number()
    with org.phone({"slot": 0, "number": number}):
        assert org.send(sim="5")["device_online"] is False
        drafts = [{"to": "12", "body": "x", "sim": "5"}, {"to": "12", "body": "x", "sim": number}]
        assert org.send(messages=drafts)["device_online"] is True


def test_a_dry_run_tells_who_would_take_it_and_stores_nothing(org: Org) -> None:
    number = canaries.number()
    asked = {"to": "12", "body": "жук", "dry_run": True}
    with org.phone({"slot": 2, "number": number}) as phone:
        at_rest(org, phone)
        before = org.read()
        answer = org.send(**asked)
        assert (answer["queued"], answer["device_online"], answer["dry_run"]) == (0, True, True)
        (told,) = answer["results"]
        taker = {"online": True, "device_id": None, "sim_slot": 2, "sim_number": number}
        assert told["taken_by"] == taker
        assert (told["status"], told["encoding"], told["forced_by"]) == ("sending", "ucs2", "ж")
        assert tickets_heard(phone) == []
    until(lambda: org.sims()["online_devices"] == 0)
    assert "waiting_for" in org.send(**asked)["results"][0]
    assert org.read() == before


def test_a_ticket_goes_out_at_once_where_a_phone_is_at_rest(org: Org) -> None:
    with org.phone() as phone:
        at_rest(org, phone)
        answer = org.send()
        assert answer["device_online"] is True
        assert answer["results"][0]["status"] == "sending"
        assert org.row(answer["results"][0]["id"])["attempts"] == 1


def test_a_phone_that_reports_other_sims_gets_what_waited_for_those(org: Org) -> None:
    number = canaries.number()
    with org.phone({"slot": 0, "number": canaries.number()}) as phone:
        ticket = org.ticket(sim=number)
        phone.say(type="sims", sims=[{"slot": 1, "number": number}])
        frames = [phone.hear(), phone.hear()]
        assert {frame["type"] for frame in frames} == {"sims_ack", "send_sms"}
        phone.confirm(ticket)
        assert org.settled(ticket)["sim_number"] == number


# -- order, and what waits --


def test_what_waited_is_handed_over_in_order_when_a_phone_comes(org: Org) -> None:
    waiting = many(org, 150)
    with org.phone() as phone:
        heard = []
        while len(heard) < 150:
            frame = phone.hear()
            heard.append(frame["id"])
            phone.confirm(frame["id"])
        assert heard == waiting
        until(lambda: not org.read(status="sending"))
        assert len(org.read(status="sent", limit=1000)) == 150


def test_a_newer_ticket_never_overtakes_one_that_waits(org: Org) -> None:
    waiting = many(org, 40)
    with org.phone() as phone:
        waiting += [org.ticket() for _ in range(10)]
        waiting += many(org, 5)
        heard = []
        while len(heard) < len(waiting):
            frame = phone.hear()
            heard.append(frame["id"])
            phone.confirm(frame["id"])
    assert heard == waiting


def test_one_bad_ticket_holds_nobody_up(org: Org) -> None:
    with org.phone() as phone:
        first, second = org.ticket(), org.ticket()
        assert [phone.hear()["id"], phone.hear()["id"]] == [first, second]
        phone.confirm(second)
        assert org.settled(second)["status"] == "sent"
        assert org.row(first)["status"] == "sending"


def test_a_hundred_unanswered_are_the_limit_and_an_answer_makes_room(org: Org) -> None:
    waiting = many(org, 120)
    with org.phone() as phone:
        heard = [phone.hear()["id"] for _ in range(100)]
        assert heard == waiting[:100]
        assert tickets_heard(phone) == []
        assert len(org.read(status="queued")) == 20
        phone.confirm(heard[0])
        assert phone.hear()["id"] == waiting[100]
        assert tickets_heard(phone) == []


@pytest.fixture(scope="module")
def narrow() -> Iterator[Daemon]:
    """A gateway with the least limits and little patience."""
    limits = ("--window", "1", "--unanswered", "1", "--confirm-timeout", "4")
    with new_home() as home, Daemon(home, *limits) as daemon:
        yield daemon


def test_with_the_least_limits_one_follows_the_other(narrow: Daemon) -> None:
    org = Org(narrow.url).claim()
    with org.agent, org.phone() as phone:
        waiting = many(org, 12)
        for ticket in waiting:
            assert phone.hear()["id"] == ticket
            assert org.row(ticket)["status"] == "sending"
            assert tickets_heard(phone) == []
            phone.confirm(ticket)
        assert [org.settled(ticket)["status"] for ticket in waiting] == ["sent"] * 12


def test_what_is_never_confirmed_fails_and_a_late_success_is_the_truth(narrow: Daemon) -> None:
    org = Org(narrow.url).claim()
    with org.agent, org.phone() as phone:
        ticket = org.ticket()
        assert phone.hear()["id"] == ticket
        row = org.settled(ticket)
        assert (row["status"], row["error"]) == ("failed", "unconfirmed")
        assert row["error_detail"]
        phone.confirm(ticket)
        row = until(lambda: row if (row := org.row(ticket))["status"] == "sent" else None)
        assert (row["error"], row["error_detail"]) == (None, None)
        assert row["sent_at"] is not None


# -- results --


def test_a_repeated_result_is_ignored_without_an_error(org: Org) -> None:
    with org.phone() as phone:
        ticket = org.ticket()
        phone.hear()
        phone.confirm(ticket, sent_at=1700000000000)
        row = org.settled(ticket)
        phone.confirm(ticket, sent_at=1800000000000)
        phone.confirm(ticket, False, error="changed my mind")
        assert phone.hear_all_before_pong() == []
        with org.phone() as other:  # its answer comes behind theirs
            gets(phone, later := org.ticket())
            assert org.settled(later)["status"] == "sent"
            assert other.hear_all_before_pong() == []
        assert org.row(ticket) == row


def test_a_late_success_turns_failed_into_sent(org: Org) -> None:
    with org.phone() as phone:
        ticket = org.ticket()
        phone.hear()
        phone.confirm(ticket, False, error="no signal")
        assert org.settled(ticket)["status"] == "failed"
        phone.confirm(ticket)
        row = until(lambda: row if (row := org.row(ticket))["status"] == "sent" else None)
    assert (row["error"], row["error_detail"]) == (None, None)
    assert row["sent_at"] is not None


def test_a_result_may_come_long_after_in_another_session(org: Org) -> None:
    with org.phone() as phone:
        ticket = org.ticket()
        phone.hear()
        phone.hear_all_before_pong()
    until(lambda: org.sims()["online_devices"] == 0)
    assert org.row(ticket)["status"] == "sending"
    with org.phone() as phone:
        phone.confirm(ticket)
        assert org.settled(ticket)["status"] == "sent"


def test_a_queued_ticket_was_never_pushed_so_it_has_no_result(org: Org) -> None:
    ticket = org.ticket(sim="9")
    with org.phone() as phone:
        phone.confirm(ticket)
        assert phone.hear()["code"] == "unknown_ticket"
    assert org.row(ticket)["status"] == "queued"


def test_without_a_time_of_the_phone_sent_at_is_the_time_of_the_confirmation(org: Org) -> None:
    with org.phone() as phone:
        gets(phone, ticket := org.ticket())
        row = org.settled(ticket)
    assert row["sent_at"] >= row["created_at"]


def test_a_ticket_is_shown_with_the_phone_that_has_it_and_its_history(org: Org) -> None:
    number = canaries.number()
    (ticket,) = many(org, 1, sim=number)
    shown = org.agent.get(f"/tickets/{org.id}/{ticket}").json()
    assert (shown["status"], shown["device_id"]) == ("queued", None)
    assert [each["what"] for each in shown["history"]] == ["accepted"]
    with org.phone({"slot": 1, "number": number}, device_id="pixel") as phone:
        gets(phone, ticket)
        row = org.settled(ticket)
    shown = org.agent.get(f"/tickets/{org.id}/{ticket}").json()
    assert (shown["status"], shown["device_id"], shown["sim_slot"]) == ("sent", "pixel", 1)
    assert [each["what"] for each in shown["history"]] == ["accepted", "given", "sent"]
    assert shown["history"][0]["at"] == row["created_at"]
    assert shown["history"][-1]["at"] == row["sent_at"]


def test_only_a_ticket_of_the_org_is_shown(org: Org, gateway: Daemon) -> None:
    (ticket,) = many(org, 1)
    org.store(org.sms())
    inbound = next(row["id"] for row in org.read() if row["direction"] == "in")
    other = Org(gateway.url).claim()
    with other.agent:
        for whose, id_ in ((other, ticket + 1), (org, inbound)):
            answer = whose.agent.get(f"/tickets/{whose.id}/{id_}")
            assert problem(answer, 404)["detail"] == "This org has no ticket with this id."
        answer = other.agent.get(f"/tickets/{org.id}/{ticket}")
        assert answer.status_code == 401


def test_a_ticket_that_waits_is_cancelled_and_no_phone_gets_it(org: Org) -> None:
    first, second = many(org, 2)
    path = f"/tickets/{org.id}/{first}"
    for _ in range(2):
        answer = org.agent.delete(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    with org.phone() as phone:
        gets(phone, second)
        org.settled(second)
        assert tickets_heard(phone) == []
    assert [row["status"] for row in org.read()] == ["cancelled", "sent"]
    assert [row["id"] for row in org.read(status="cancelled")] == [first]
    told = problem(org.agent.delete(f"/tickets/{org.id}/{second}"), 409)
    assert told["detail"] == "This ticket has ended: it is sent."


def test_a_ticket_that_a_phone_has_is_not_cancelled(org: Org) -> None:
    with org.phone() as phone:
        (ticket,) = many(org, 1)
        assert phone.hear()["id"] == ticket
        told = problem(org.agent.delete(f"/tickets/{org.id}/{ticket}"), 409)
        assert told["detail"] == "This ticket is sending: a phone has it, and may have sent it."
        assert phone.hear_all_before_pong() == []
        phone.confirm(ticket)
        assert org.settled(ticket)["status"] == "sent"
    assert org.agent.delete(f"/tickets/{org.id}/{ticket + 1}").status_code == 404


def asked_back(org: Org, phone: Phone, pool: ThreadPoolExecutor, ticket: int) -> Future[Any]:
    """An agent wants the ticket, and its phone is asked; the agent's answer to come."""
    answer = pool.submit(org.agent.delete, f"/tickets/{org.id}/{ticket}")
    assert phone.hear() == {"type": "cancel_sms", "id": ticket}
    return answer


def test_a_ledger_phone_gives_a_ticket_back_or_keeps_it(org: Org) -> None:
    with org.phone(device_id="handy", ledger="1") as phone, ThreadPoolExecutor() as pool:
        (ticket,) = many(org, 1)
        assert phone.hear()["id"] == ticket
        kept = asked_back(org, phone, pool, ticket)
        phone.say(type="cancel_result", id=ticket, cancelled=False)
        told = problem(kept.result(), 409)
        assert told["detail"] == "This ticket is sending: a phone has it, and may have sent it."
        given_back = asked_back(org, phone, pool, ticket)
        phone.say(type="cancel_result", id=ticket, cancelled=True)
        answer = given_back.result()
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert answer.json()["attempts"] == 1
        assert org.agent.delete(f"/tickets/{org.id}/{ticket}").status_code == 200
        phone.say(type="cancel_result", id=ticket + 1, cancelled=True)
        error = phone.hear()
        assert (error["code"], error["in_reply_to"]) == ("unknown_ticket", "cancel_result")


def test_a_ticket_that_was_given_back_unheard_is_given_back_at_the_next_push(org: Org) -> None:
    """As after a crash between the phone's answer and the commit."""
    with org.phone(device_id="handy", ledger="1") as phone:
        (ticket,) = many(org, 1)
        first = phone.hear()
    with org.phone(device_id="handy", ledger="1") as phone:
        again = phone.hear()
        assert (again["id"], again["ref"]) == (ticket, first["ref"])
        phone.say(type="cancel_result", id=ticket, cancelled=True)
        until(lambda: org.read()[0]["status"] == "cancelled")
    with org.phone(device_id="handy", ledger="1") as phone:
        assert tickets_heard(phone) == []


def test_the_phone_of_smsd_gives_back_what_it_has_not_sent(org: Org, tmp_path: Path) -> None:
    """And never sends it, though it is killed."""
    url = org.url.replace("http", "ws") + "/websocket"
    flags = ("--ledger", str(tmp_path / "ledger"))
    with Handset(url, org.id, org.secret, *flags, "--delay", "30") as handset:
        handset.shows("sims stored")
        (ticket,) = many(org, 1)
        handset.shows(f"send_sms {ticket}")
        answer = org.agent.delete(f"/tickets/{org.id}/{ticket}")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        handset.shows(f"cancel_result {ticket}: given back, it is not sent")
    with Handset(url, org.id, org.secret, *flags) as handset:
        handset.shows("sims stored")
        (second,) = many(org, 1)
        shown = handset.shows_until(f"result of {second} acknowledged")
        assert f"send_result {ticket}" not in shown
    assert [row["status"] for row in org.read()] == ["cancelled", "sent"]


@pytest.mark.skipif(not shutil.which("curl"), reason="apt-get install curl")
def test_every_command_of_the_page_answers_as_the_page_says() -> None:
    to, sim = "+15553334444", {"slot": 0, "number": "+15550100001"}
    with new_home() as home, Daemon(home) as own:
        org = Org(own.url, "myorg", "my-secret-key-123")
        with org.agent:
            org.claim()
            with org.phone(sim) as phone:
                for body in ("hi", "sent from API"):
                    ticket = org.ticket(to=to, body=body)
                    gets(phone, ticket)
                    org.settled(ticket)
            until(lambda: not org.sims()["online_devices"])
            assert [org.ticket(to=to, body="hi") for _ in range(5)][-1] == 7
            hold(DOCS / "tickets.md", terminal(own))
