"""The campaign's checker on a database in which something is wrong: each count turns red alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from faults.checker import Checker, Findings
from faults.endpoints import Hook
from faults.journal import OK, UNKNOWN, Journal
from faults.table import COUNTS

ORG = "org-0"
_TICKET = """
    INSERT INTO messages (org_id, id, status, direction, address, address_key, body, sim_key, ref,
        attempts, session_id, handed_at, sent_at, error, ledger)
    VALUES (%(org)s, %(id)s, %(status)s, 'out', '', '', %(words)s, '*', 'ref',
        (%(status)s <> 'cancelled')::integer, gen_random_uuid(), now(),
        CASE WHEN %(status)s = 'sent' THEN now() END,
        CASE WHEN %(status)s = 'failed' THEN 'unconfirmed' END, %(ledger)s)
"""
_SMS = """
    INSERT INTO messages (org_id, id, status, direction, address, address_key, body)
    VALUES (%(org)s, %(id)s, 'received', 'in', '', '', %(words)s)
"""

DELIVERED = "status = 'delivered', receipt = true, delivered_at = now()"


class Scene:
    """What the outside world saw, and what is stored."""

    def __init__(self, connection: Any) -> None:
        self.journal = Journal()
        self._connection = connection
        self._id = 0
        self._event = 0
        #: Each wants everything of the org.
        self.hooks: list[Hook] = []

    def row(self, words: str, sql: str = _SMS, **more: object) -> int:
        self._id += 1
        values = {"org": ORG, "id": self._id, "words": words, "ledger": False, **more}
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
        return self._id

    def ticket(self, words: str, status: str = "sent", ledger: bool = False) -> int:
        """A ticket that is stored and acknowledged."""
        id_ = self.row(words, _TICKET, status=status, ledger=ledger)
        self.journal.hand_in("send", ORG, [words], keyed=False)
        self.journal.acknowledge(words, id_)
        return id_

    def changed(self, how: str) -> None:
        """The last row is like this."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"UPDATE messages SET {how} WHERE id = %s", (self._id,))

    def sent(self, words: str, *phones: str, ledger: bool = False) -> int:
        """A ticket that these phones were given, sent and confirmed."""
        id_ = self.ticket(words, ledger=ledger)
        for phone in phones:
            self.journal.push(ORG, id_, words, phone)
            self.journal.radio(words, phone)
        self.journal.now.confirmed.add(words)
        return id_

    def sms(self, words: str, *, keyed: bool = True, acknowledged: bool = True) -> None:
        """An SMS that was handed in."""
        self.journal.hand_in("webhook", ORG, [words], keyed)
        if acknowledged:
            self.journal.acknowledge(words)

    def listens(self) -> None:
        """From now on the org is one whose events are written."""
        with self._connection.cursor() as cursor:
            cursor.execute("INSERT INTO orgs VALUES (%s, '', '', '')", (ORG,))
            cursor.execute("INSERT INTO org_counters (org_id) VALUES (%s)", (ORG,))
        Checker(self._connection).listen([ORG])

    def tells(self, message_id: int, *types: str, heard: bool = True) -> None:
        """These events of a message are written down, and its org's reader hears them."""
        for type_ in types:
            self._event += 1
            if heard:
                self.journal.heard(ORG, self._event, after=self._event - 1)
            values = (ORG, self._event, type_, message_id)
            with self._connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO events (org_id, id, type, message_id, data) "
                    "VALUES (%s, %s, %s, %s, '{}')",
                    values,
                )

    def red(self) -> set[str]:
        """The counts that must be 0 and are not."""
        return {name for name, zero in COUNTS.items() if zero and self.found().counts[name]}

    def found(self) -> Findings:
        return Checker(self._connection).check(self.journal.now, "{}", self.hooks)


@pytest.fixture
def scene(conninfo: str) -> Iterator[Scene]:
    connection = psycopg2.connect(conninfo)
    connection.autocommit = True
    yield Scene(connection)
    connection.close()


def test_nothing_is_red_where_all_is_well(scene: Scene) -> None:
    scene.sent("t1", "plain")
    scene.sent("t2", "ledger-a", ledger=True)
    scene.sms("s1")
    scene.row("s1")
    scene.sms("s2", acknowledged=False)
    scene.journal.end("webhook", OK, 0.0)
    scene.journal.end("webhook", UNKNOWN, 0.0)
    assert scene.red() == set()
    counts = scene.found().counts
    assert (counts["texts attempted"], counts["texts acknowledged"]) == (4, 3)
    assert (counts["calls acknowledged"], counts["calls unknown"]) == (1, 1)


def test_the_same_push_twice_to_a_ledger_phone_is_only_counted(scene: Scene) -> None:
    id_ = scene.sent("t1", "ledger-a", ledger=True)
    scene.journal.push(ORG, id_, "t1", "ledger-a")
    assert scene.red() == set()
    assert scene.found().counts["pushed again, same id"] == 1


def test_events_that_tell_all_are_not_red(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.row("s1"), "message.received")
    scene.tells(scene.sent("t1", "plain"), "ticket.queued", "ticket.sending", "ticket.sent")
    scene.tells(scene.sent("t2", "plain"), "ticket.sending", "ticket.failed", "ticket.sent")
    assert scene.red() == set()
    assert (scene.found().counts["events"], scene.found().counts["events heard"]) == (7, 7)


def test_posts_that_are_refused_and_come_again_are_not_red(scene: Scene) -> None:
    scene.listens()
    hook = hooked(scene, Hook(ORG, types=("ticket.sent",)))
    scene.tells(scene.sent("t1", "plain"), "ticket.sending", "ticket.sent")
    scene.tells(scene.sent("t2", "plain"), "ticket.sending", "ticket.sent")
    for event, taken in ((2, False), (2, True), (4, True)):
        scene.journal.posted(hook.name, event, taken=taken, after=0)
    assert scene.red() == set()
    assert (scene.found().counts["posts taken"], scene.found().counts["posts refused"]) == (2, 1)


def test_a_hook_needs_no_posts_of_what_it_did_not_ask_for(scene: Scene) -> None:
    scene.listens()
    for hook in (Hook(ORG, types=("ticket.sent",)), Hook(ORG, address="+1"), Hook("org-1")):
        hooked(scene, hook)
    scene.tells(scene.row("s1"), "message.received")
    assert scene.red() == set()


def test_a_call_that_is_repeated_with_the_same_answer_is_not_red(scene: Scene) -> None:
    id_ = scene.sent("t1", "plain")
    scene.journal.now.texts["t1"].keyed = True
    scene.journal.acknowledge("t1", id_)
    assert scene.red() == set()


def test_a_ticket_that_was_taken_back_is_not_red(scene: Scene) -> None:
    scene.ticket("t1", status="cancelled")
    scene.journal.cancelled("t1")
    assert scene.red() == set()


def test_an_org_that_does_not_listen_needs_no_events(scene: Scene) -> None:
    scene.row("s1")
    assert scene.red() == set()


def an_sms_untold(scene: Scene) -> None:
    scene.listens()
    scene.row("s1")


def an_end_untold(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.sent("t1", "plain"), "ticket.queued", "ticket.sending")


def an_sms_told_twice(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.row("s1"), "message.received", "message.received")


def a_step_that_is_none(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.sent("t1", "plain"), "ticket.queued", "ticket.queued", "ticket.sent")


def an_end_before_the_beginning(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.sent("t1", "plain"), "ticket.sent", "ticket.sending")


def a_beginning_untold(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.sent("t1", "plain"), "ticket.sent")


def told_of_nothing(scene: Scene) -> None:
    scene.listens()
    scene.tells(77, "ticket.queued")


def an_event_unheard(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.row("s1"), "message.received", heard=False)


def an_event_heard_again(scene: Scene) -> None:
    scene.listens()
    scene.tells(scene.row("s1"), "message.received")
    scene.journal.heard(ORG, 1, after=1)


def hooked(scene: Scene, hook: Hook) -> Hook:
    scene.hooks.append(hook)
    return hook


def a_post_never_taken(scene: Scene) -> None:
    scene.listens()
    hook = hooked(scene, Hook(ORG))
    scene.tells(scene.row("s1"), "message.received")
    scene.journal.posted(hook.name, 1, taken=False, after=0)


def a_post_to_another_hook(scene: Scene) -> None:
    scene.listens()
    one, other = hooked(scene, Hook(ORG, id="one")), hooked(scene, Hook(ORG, id="other"))
    scene.tells(scene.row("s1"), "message.received")
    scene.tells(scene.row("s2"), "message.received")
    for hook, event in ((one, 1), (one, 2), (other, 2)):
        scene.journal.posted(hook.name, event, taken=True, after=0)


def a_post_after_a_later_one(scene: Scene) -> None:
    scene.listens()
    hook = hooked(scene, Hook(ORG))
    for words in ("s1", "s2"):
        scene.tells(scene.row(words), "message.received")
    scene.journal.posted(hook.name, 2, taken=True, after=0)
    scene.journal.posted(hook.name, 1, taken=True, after=2)


def sent_after_a_stop(scene: Scene) -> None:
    scene.sent("t1", "plain")
    scene.journal.bar(ORG, "t1")


def pushed_after_a_stop(scene: Scene) -> None:
    id_ = scene.ticket("t1", status="failed")
    scene.journal.bar(ORG, "t1")
    scene.changed("attempts = 0, session_id = NULL, handed_at = NULL, error = 'opted_out'")
    scene.journal.push(ORG, id_, "t1", "plain")


def ended_otherwise_after_a_stop(scene: Scene) -> None:
    scene.ticket("t1", status="failed")
    scene.journal.bar(ORG, "t1")


def given_too_late(scene: Scene) -> None:
    scene.sent("t1", "plain")
    scene.changed("expires_at = handed_at - interval '1 s'")


def given_too_early(scene: Scene) -> None:
    scene.sent("t1", "plain")
    scene.changed("send_at = handed_at + interval '1 s'")


def expired_though_a_ledger_phone_sent_it(scene: Scene) -> None:
    scene.sent("t1", "ledger-a", ledger=True)
    scene.changed("status = 'expired', sent_at = NULL, expires_at = handed_at + interval '1 s'")


def answered_with_another_answer(scene: Scene) -> None:
    scene.journal.replied(right=False)


def lost_sms(scene: Scene) -> None:
    scene.sms("s1")


def lost_ticket(scene: Scene) -> None:
    scene.journal.hand_in("send", ORG, ["t1"], keyed=False)
    scene.journal.acknowledge("t1", 77)


def another_text_under_the_id(scene: Scene) -> None:
    id_ = scene.sent("t1", "plain")
    scene.sms("t2")
    scene.row("t2")
    scene.journal.acknowledge("t2", id_)


def sms_stored_twice(scene: Scene) -> None:
    scene.sms("s1")
    scene.row("s1")
    scene.row("s1")


def unknown_ticket_stored_twice(scene: Scene) -> None:
    scene.journal.hand_in("send", ORG, ["t1"], keyed=False)
    for _ in range(2):
        scene.row("t1", _TICKET, status="failed")


def a_key_used_twice(scene: Scene) -> None:
    scene.journal.hand_in("send", ORG, ["t1"], keyed=True)
    for _ in range(2):
        scene.row("t1", _TICKET, status="failed")


def two_answers_under_one_key(scene: Scene) -> None:
    id_ = scene.row("t1", _TICKET, status="failed")
    scene.journal.hand_in("send", ORG, ["t1"], keyed=True)
    for given in (id_ + 1, id_):
        scene.journal.acknowledge("t1", given)


def told_as_cancelled_and_failed(scene: Scene) -> None:
    scene.ticket("t1", status="failed")
    scene.journal.cancelled("t1")


def cancelled_and_sent(scene: Scene) -> None:
    scene.ticket("t1", status="cancelled")
    scene.journal.radio("t1", "plain")


def left_queued(scene: Scene) -> None:
    scene.ticket("t1", status="queued")


def left_sending(scene: Scene) -> None:
    scene.ticket("t1", status="sending")


def pushed_and_never_stored(scene: Scene) -> None:
    scene.journal.push(ORG, 77, "t1", "plain")


def seen_before_its_commit(scene: Scene) -> None:
    scene.journal.now.premature += 1


def pushed_under_two_ids(scene: Scene) -> None:
    for phone in ("plain", "another"):
        scene.journal.hand_in("send", ORG, ["t1"], keyed=False)
        scene.journal.push(ORG, scene.row("t1", _TICKET, status="failed"), "t1", phone)


def twice_by_a_ledger_phone(scene: Scene) -> None:
    scene.sent("t1", "ledger-a", "ledger-a", ledger=True)


def twice_by_a_plain_phone(scene: Scene) -> None:
    scene.sent("t1", "plain", "plain")


def by_two_phones(scene: Scene) -> None:
    scene.sent("t1", "ledger-a", "plain")


def sent_though_nobody_said_so(scene: Scene) -> None:
    scene.ticket("t1")


def a_ledger_phone_unheard(scene: Scene) -> None:
    id_ = scene.ticket("t1", status="failed", ledger=True)
    scene.journal.push(ORG, id_, "t1", "ledger-a")
    scene.journal.radio("t1", "ledger-a")
    scene.journal.now.confirmed.add("t1")


def a_call_refused(scene: Scene) -> None:
    scene.journal.end("send", "refused", 0.0)


def a_wrong_answer(scene: Scene) -> None:
    scene.journal.complain("HTTP 500")


def a_report_unheard(scene: Scene) -> None:
    scene.journal.reported(ORG, scene.sent("t1", "plain"))


def delivered_though_nobody_said_so(scene: Scene) -> None:
    scene.sent("t1", "plain")
    scene.changed(DELIVERED)


RED: list[tuple[Callable[[Scene], None], set[str]]] = [
    (lost_sms, {"lost"}),
    (lost_ticket, {"lost"}),
    (another_text_under_the_id, {"lost"}),
    (sms_stored_twice, {"stored twice"}),
    (unknown_ticket_stored_twice, {"stored twice"}),
    (a_key_used_twice, {"sent twice under one key"}),
    (two_answers_under_one_key, {"sent twice under one key"}),
    (told_as_cancelled_and_failed, {"told as cancelled, and is not"}),
    (cancelled_and_sent, {"cancelled, and sent"}),
    (left_queued, {"stuck"}),
    (left_sending, {"stuck"}),
    (pushed_and_never_stored, {"pushed before commit"}),
    (seen_before_its_commit, {"pushed before commit"}),
    (pushed_under_two_ids, {"pushed under two ids", "stored twice"}),
    (twice_by_a_ledger_phone, {"sent twice by a ledger phone"}),
    (twice_by_a_plain_phone, {"sent twice by a plain phone"}),
    (by_two_phones, {"sent by two phones"}),
    (sent_though_nobody_said_so, {"told as sent, and never was"}),
    (a_report_unheard, {"reported to have arrived, and is not delivered"}),
    (delivered_though_nobody_said_so, {"told as delivered, and nobody said so"}),
    (a_ledger_phone_unheard, {"a ledger phone's word lost"}),
    (a_call_refused, {"calls refused"}),
    (a_wrong_answer, {"wrong answers"}),
    (an_sms_untold, {"events missing"}),
    (an_end_untold, {"events missing"}),
    (an_sms_told_twice, {"events out of order"}),
    (a_step_that_is_none, {"events out of order"}),
    (an_end_before_the_beginning, {"events out of order"}),
    (a_beginning_untold, {"events out of order"}),
    (told_of_nothing, {"events out of order"}),
    (an_event_unheard, {"events missed by a reader"}),
    (an_event_heard_again, {"events heard out of order"}),
    (sent_after_a_stop, {"given to a phone after a STOP"}),
    (pushed_after_a_stop, {"given to a phone after a STOP"}),
    (ended_otherwise_after_a_stop, {"given to a phone after a STOP"}),
    (given_too_late, {"given to a phone outside of its time"}),
    (given_too_early, {"given to a phone outside of its time"}),
    (expired_though_a_ledger_phone_sent_it, {"a ledger phone's word lost"}),
    (answered_with_another_answer, {"wrong answers"}),
    (a_post_never_taken, {"events missed by a hook"}),
    (a_post_to_another_hook, {"events missed by a hook"}),
    (a_post_after_a_later_one, {"events out of order at a hook"}),
]


@pytest.mark.parametrize(("wrong", "red"), RED, ids=[wrong.__name__ for wrong, _ in RED])
def test_what_is_wrong_turns_its_count_red(
    scene: Scene, wrong: Callable[[Scene], None], red: set[str]
) -> None:
    wrong(scene)
    assert scene.red() == red


def test_what_a_person_and_a_plan_may_wish_is_not_red(scene: Scene) -> None:
    scene.ticket("t1", status="failed")
    scene.journal.bar(ORG, "t1")
    scene.changed("attempts = 0, session_id = NULL, handed_at = NULL, error = 'opted_out'")
    scene.sent("t2", "plain")
    scene.changed("send_at = handed_at - interval '1 s', expires_at = handed_at + interval '1 s'")
    scene.ticket("t3", status="failed")
    scene.changed("status = 'expired', error = NULL, expires_at = handed_at + interval '1 s'")
    assert scene.red() == set()
    counts = scene.found().counts
    assert (counts["tickets opted out"], counts["given up, not sent"]) == (1, 0)


def test_what_arrived_and_was_reported_is_not_red(scene: Scene) -> None:
    arrived, silent = scene.sent("t1", "plain"), scene.sent("t2", "plain")
    scene.journal.reported(ORG, silent)
    checker = Checker(scene._connection)
    assert checker.unheard({(ORG, arrived), (ORG, silent)}) == 2
    scene.changed(DELIVERED)
    assert checker.unheard({(ORG, arrived), (ORG, silent)}) == 1
    assert scene.red() == set()
    counts = scene.found().counts
    assert (counts["delivery reports"], counts["tickets delivered"]) == (1, 1)


def test_what_was_there_before_the_round_is_not_looked_at(scene: Scene) -> None:
    scene.row("s0")
    scene.row("s0")
    scene.sms("s1")
    scene.row("s1")
    found = Checker(scene._connection).check(scene.journal.now, f'{{"{ORG}": 2}}')
    assert not any(found.counts[name] for name, zero in COUNTS.items() if zero)


def test_what_is_gone_again_is_missed_in_the_end(scene: Scene) -> None:
    scene.row("s1")
    assert Checker(scene._connection).missing({"s1", "s2"}) == {"s2"}
