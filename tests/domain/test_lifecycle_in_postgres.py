"""What Postgres makes of the table of a ticket's life: the constraint knows its states and no
others, and every statement that writes tickets takes its steps and no others."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
import pytest_twisted

from smsd.domain.lifecycle import BIRTHS, RECEIVED, RESULTS, STATES, STEPS
from smsd.domain.opt_outs import OptOuts
from smsd.domain.records import Delivery, Result, jsoned, new_ref
from smsd.store import (
    batches,
    deliveries,
    limits,
    messages,
    opt_outs,
    remedies,
    resumption,
    schedule,
    tickets,
)
from smsd.store.messages import NewMessage, Pushed, Served, Told
from smsd.store.resumption import InDoubt, Waited
from smsd.store.statements import Statement, all_statements, named
from smsd.store.trouble import DataRefused

ARROWS = {(step.leaves, step.enters) for step in STEPS}
SESSION = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
ORG, PHONE = "acme", "device:handy"

# -- the constraint --------------------------------------------------------------------------

#: What a row in each state must carry, beside what every ticket does.
CARRIES: dict[str, dict[str, Any]] = {
    "queued": {"sent_at": None, "error": None},
    "sending": {
        "sent_at": None,
        "error": None,
        "attempts": 1,
        "session_id": SESSION,
        "handed_at": "2001-01-01",
    },
    "sent": {"sent_at": "2001-01-01", "error": None, "attempts": 1},
    "failed": {"sent_at": None, "error": "unconfirmed"},
    "cancelled": {"sent_at": None, "error": None, "attempts": 0},
    "expired": {"sent_at": None, "error": None, "expires_at": "2001-01-01"},
    "delivered": {
        "sent_at": "2001-01-01",
        "error": None,
        "attempts": 1,
        "receipt": True,
        "delivered_at": "2001-01-02",
    },
}
#: What would break each of these.
WRONG = {
    "attempts": 0,
    **dict.fromkeys(["session_id", "handed_at", "expires_at", "receipt", "delivered_at"]),
}
EMPTY: dict[str, Any] = dict.fromkeys(["sent_at", "error", "session_id", "handed_at", "receipt"])
ALL = {**EMPTY, "attempts": 1}


def wrong(state: str, column: str) -> Any:
    """A value of the column that this state must not carry."""
    if column in WRONG:
        return 1 if CARRIES[state][column] == 0 else WRONG[column]
    return None if CARRIES[state][column] else {"sent_at": "2001-01-01", "error": "x"}[column]


async def ask(database, text: str, **values: object) -> list[Any]:
    return await database.run(Statement("test", text), **values)


async def put(database, id_: int, status: str, **columns: object) -> None:
    """A ticket as a row, with these columns; `DataRefused` where the constraint forbids it."""
    row = {"status": status, **ALL, "ref": f"ref-{id_}", "receipted": 0, **columns}
    row = {**dict.fromkeys(["pushed_at", "received_at"]), **row}
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    await ask(
        database,
        "INSERT INTO messages (org_id, id, direction, address, address_key, body, sim_key,"
        f" phone_id, {names}) VALUES ('acme', %(id)s, 'out', '+1', '1', 'hi', '*',"
        f" 'device:handy', {values})",
        id=id_,
        **row,
    )


async def enter(database, id_: int, status: str, columns: dict[str, Any]) -> str | None:
    """Change a row's state by hand; the constraint that forbids it."""
    changes = ", ".join(f"{name} = %({name})s" for name in ["status", *columns])
    try:
        await ask(
            database,
            f"UPDATE messages SET {changes} WHERE id = %(id)s",
            id=id_,
            status=status,
            **columns,
        )
    except DataRefused as refused:
        return refused.constraint
    return None


@pytest_twisted.ensureDeferred
async def test_the_constraint_names_the_states_of_the_table_and_no_others(database):
    ((said,),) = await ask(
        database,
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'messages_lifecycle'",
    )
    assert set(re.findall(r"WHEN '(\w+)'", said)) == {*STATES, "in", "out"}
    assert set(re.findall(r"status = '(\w+)'", said)) == {RECEIVED}
    assert said.count("ELSE false") == 2


@pytest.mark.parametrize(("leaves", "enters"), list(product(STATES, STATES)))
@pytest_twisted.ensureDeferred
async def test_a_ticket_enters_a_state_only_with_all_that_the_state_must_carry(
    database, leaves, enters
):
    await put(database, 1, leaves, **CARRIES[leaves])
    whole = {**ALL, **CARRIES[enters]}
    for column in CARRIES[enters]:
        broken = {**whole, column: wrong(enters, column)}
        assert await enter(database, 1, enters, broken) == "messages_lifecycle", column
    assert await enter(database, 1, enters, whole) is None


@pytest.mark.parametrize("strange", [RECEIVED, "pending", "arrived", "canceled", "SENT", ""])
@pytest_twisted.ensureDeferred
async def test_no_other_state_is_let_in_whatever_the_ticket_carries(database, strange):
    for id_, state in enumerate(STATES):
        await put(database, id_, state, **CARRIES[state])
        for carried in CARRIES.values():
            refused = await enter(database, id_, strange, {**ALL, **carried})
            assert refused == "messages_lifecycle"


# -- the statements --------------------------------------------------------------------------


async def opt_out(database) -> None:
    """The number of all tickets here has opted out."""
    await opt_outs.set_how(database, ORG, OptOuts(scope="org"))
    await opt_outs.add(database, ORG, "1", "+1")


async def refuse_given(database, rows):
    await opt_out(database)
    ids = [row["id"] for row in rows]
    await opt_outs.refuse_given(database, ORG, ids, given=ids)


async def append(database, rows):
    """Stored in every state that a ticket could be given; only births are let in, and the failed
    are born of others alone."""
    given = {"attempts": 1, "session_id": SESSION, "phone_id": PHONE}
    for at, state in enumerate(STATES):
        row = NewMessage(
            org_id=ORG, status=state, direction="out", address="+1", address_key="1", body="hi",
            sim_key="*", ref=new_ref(), ord=at, **given,
        )  # fmt: skip
        try:
            await messages.append(database, [row])
        except DataRefused:
            assert state not in BIRTHS or state == "failed"
        else:
            assert state in BIRTHS


async def append_waiting(database, rows):
    for status in ("queued", "sending"):
        row = NewMessage(
            org_id=ORG, status=status, direction="out", address="+1", address_key="1", body="hi",
            sim_key="*", ref=new_ref(), ord=0, attempts=1, session_id=SESSION, phone_id=PHONE,
        )  # fmt: skip
        ((_, id_),) = (await messages.append(database, [row])).items()
        assert id_ < 0


async def settle(database, rows):
    """A third of each state was sent, a third was not, and a third was dropped as too late."""
    told = [
        Told(Result(org_id=ORG, id=id_, success=id_ % 3 == 0, error=("expired", "x")[id_ % 2]))
        for id_ in (row["id"] for row in rows)
    ]
    await messages.settle(database, told)


async def settle_deliveries(database, rows):
    told = [Delivery(org_id=ORG, id=row["id"], delivered=row["id"] % 3 > 0) for row in rows]
    await deliveries.settle(database, told)


async def claim(database, rows):
    await messages.claim(
        database, ORG, serves=[Served("*")], session_id=SESSION, phone_id=PHONE, ledger=True,
        places=1000,
    )  # fmt: skip


async def claim_in_turn(database, rows):
    await batches.write(
        database, named("claim_in_turn"), org_id=ORG, serves=jsoned([Served("*", 0)]),
        chosen=jsoned([{"ord": 0, "id": row["id"], "segments": 1, "sims": ["1"]} for row in rows]),
        sim_keys=["1"], seconds=60.0, session_id=SESSION, phone_id=PHONE, ledger=True,
    )  # fmt: skip


async def end_pushes(database, rows):
    ends = [(None, None), (1000, None), (1000, 2000)]
    pushes = [Pushed(ORG, r["id"], SESSION, PHONE, *ends[r["id"] % 3]) for r in rows]
    await messages.end_pushes(database, pushes)


async def fail_unconfirmed(database, rows):
    await messages.fail_unconfirmed_everywhere(database, timeout=600.0, detail="late")


async def requeue_unconfirmed(database, rows):
    await resumption.requeue_unconfirmed_everywhere(
        database, timeout=600.0, max_attempts=5, detail="late"
    )


async def push_again(database, rows):
    tickets = [InDoubt(row["id"], SESSION, True, True, True, 0) for row in rows]
    await resumption.push_again(
        database, ORG, tickets, session_id=SESSION, phone_id=PHONE, ledger=True, max_attempts=5,
        detail="often",
    )  # fmt: skip


async def note_waits(database, rows):
    await resumption.note_waits(database, [Waited(ORG, row["id"], SESSION, 9) for row in rows])


async def requeue_ticket(database, rows):
    for row in rows:
        await remedies.requeue(database, ORG, row["id"])


async def fail_ticket(database, rows):
    for row in rows:
        await remedies.fail(database, ORG, row["id"], "by hand")


async def cancel(database, rows):
    before = dict(await ask(database, "SELECT id, status || attempts FROM messages"))
    for row in rows:
        assert await tickets.cancel(database, ORG, row["id"]) == (before[row["id"]] == "queued0")


async def cancel_handed(database, rows):
    """Every other one is another session's, or one of a phone without a ledger."""
    await ask(database, "UPDATE messages SET ledger = id % 3 > 0 WHERE status = 'sending'")
    for row in rows:
        await tickets.cancel_handed(database, ORG, row["id"], SESSION if row["id"] % 2 else OTHER)


async def expire(database, rows):
    await ask(database, "UPDATE messages SET created_at = '2001-01-01'")
    async for _ in limits.expire_everywhere(database, 60):
        pass


async def pass_times(database, rows):
    await ask(database, "UPDATE messages SET not_before = now() WHERE id % 2 = 0")
    for _ in range(2):
        async for _ in schedule.pass_everywhere(database):
            pass


#: What deletes messages: an org as a whole, a person, and what is old.
ERASERS = {"erase_messages", "forget_address", "prune_messages"}


async def requeue_by_hand(database, rows):
    for row in rows:
        await remedies.requeue(database, ORG, row["id"])


async def fail_by_hand(database, rows):
    for row in rows:
        await remedies.fail(database, ORG, row["id"], "no more")


async def fail_pending(database, rows):
    await database.run(named("fail_pending_everywhere"))


#: Every statement that writes tickets, as it is run, and the steps that it takes.
WRITERS = {
    "append_messages": (append, set()),
    "settle_results": (settle, set(RESULTS)),
    "settle_deliveries": (
        settle_deliveries,
        {
            *((state, "delivered") for state in STATES if state != "delivered"),
            ("queued", "sent"),
            ("sending", "sent"),
        },
    ),
    "claim_tickets": (claim, {("queued", "sending")}),
    "claim_in_turn": (claim_in_turn, {("queued", "sending")}),
    "end_pushes": (end_pushes, {("sending", "queued")}),
    "fail_unconfirmed_everywhere": (fail_unconfirmed, {("sending", "failed")}),
    "requeue_unconfirmed_everywhere": (
        requeue_unconfirmed,
        {("sending", "queued"), ("sending", "failed")},
    ),
    "push_again": (push_again, {("sending", "failed"), ("sending", "expired")}),
    "pass_times_everywhere": (pass_times, {("queued", "expired")}),
    "note_waits": (note_waits, set()),
    "requeue_ticket": (requeue_ticket, {("sending", "queued")}),
    "refuse_given": (refuse_given, {("sending", "failed")}),
    "cancel_ticket": (cancel, {("queued", "cancelled")}),
    "cancel_handed": (cancel_handed, {("sending", "cancelled")}),
    "expire_tickets": (expire, {("queued", "failed")}),
    "fail_ticket": (fail_ticket, {("queued", "failed"), ("sending", "failed")}),
    "fail_pending_everywhere": (fail_pending, {("queued", "failed"), ("sending", "failed")}),
}


#: What else these do where the number of a ticket has opted out.
REFUSING = {
    "append_messages": (append_waiting, set()),
    "claim_tickets": (claim, {("queued", "failed")}),
    "claim_in_turn": (claim_in_turn, {("queued", "failed")}),
    "push_again": (push_again, {("sending", "failed"), ("sending", "expired")}),
}


def test_every_statement_that_writes_tickets_is_tried_here_and_no_other_deletes_them():
    written = re.compile(r"\b(UPDATE|INSERT INTO|DELETE FROM|MERGE INTO|TRUNCATE)\s+messages\b")
    found = {name: set(written.findall(s.sql)) for name, s in all_statements().items()}
    writers = {name for name, verbs in found.items() if verbs & {"UPDATE", "INSERT INTO"}}
    assert writers == set(WRITERS)
    assert not any(verbs & {"MERGE INTO", "TRUNCATE"} for verbs in found.values())
    assert {name for name, verbs in found.items() if "DELETE FROM" in verbs} == ERASERS


def test_every_step_is_taken_by_some_statement():
    assert set.union(*(steps for _, steps in WRITERS.values())) == ARROWS


async def rows_in_every_state(database) -> None:
    """Tickets in every state, with all that may be known of their last push."""
    doubts = list(product([0, 1, 2], [None, "2001-01-01"], [None, "2001-01-02"], [0, 4, 9]))
    id_ = 0
    for state, (attempts, pushed_at, received_at, receipted) in product(STATES, doubts):
        known = {"pushed_at": pushed_at, "received_at": received_at, "receipted": receipted}
        carried = {"session_id": SESSION, "handed_at": "2001-01-01", **CARRIES[state]}
        carried["expires_at"] = "2001-01-01" if id_ % 5 or state == "expired" else None
        carried["receipt"] = True if id_ % 7 or state == "delivered" else None
        carried["ledger"] = state == "cancelled"
        if attempts >= carried.get("attempts", 0):
            id_ += 1
            await put(database, id_, state, **{**carried, "attempts": attempts, **known})


async def undelivered(database, before) -> list[int]:
    """Those that were sent before, and of which it is known by now that they did not arrive."""
    found = await ask(database, "SELECT id FROM messages WHERE error = 'undelivered'")
    return [id_ for (id_,) in found if before[id_] == "sent"]


#: A restore moves every reader's cursor instead: all have missed something.
SILENT = {"fail_pending_everywhere"}


async def each_change_has_its_event(database, before, after, *, unless: bool) -> None:
    """And nothing else has one, and the counter knows the last."""
    told = await ask(database, "SELECT id, message_id, type FROM events ORDER BY id")
    changed = [(id_, f"ticket.{after[id_]}") for id_ in after if after[id_] != before.get(id_)]
    changed += [(id_, "ticket.sent") for id_ in await undelivered(database, before)]
    assert sorted((id_, type_) for _, id_, type_ in told) == ([] if unless else sorted(changed))
    ((last,),) = await ask(database, "SELECT last_event FROM org_counters")
    assert last == max((id_ for id_, *_ in told), default=0)


@pytest.mark.parametrize("name", list(WRITERS))
@pytest_twisted.ensureDeferred
async def test_a_statement_takes_only_the_steps_of_the_table(database, name):
    await takes_only_its_steps(database, name, *WRITERS[name])


@pytest.mark.parametrize("name", list(REFUSING))
@pytest_twisted.ensureDeferred
async def test_a_ticket_is_refused_by_steps_of_the_table(database, name):
    write, steps = REFUSING[name]

    async def refuse(database, rows):
        await opt_out(database)
        await write(database, rows)

    await takes_only_its_steps(database, name, refuse, steps)
    refused = await ask(database, "SELECT 1 FROM messages WHERE error = 'opted_out' LIMIT 1")
    assert refused == [(1,)]


async def takes_only_its_steps(database, name, write, steps) -> None:
    await ask(
        database,
        "INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)"
        " VALUES ('acme', '', '', '')",
    )
    await ask(
        database,
        "INSERT INTO org_counters (org_id, last_id, listens_until)"
        " VALUES ('acme', 5000, 'infinity')",
    )
    await rows_in_every_state(database)
    before = dict(await ask(database, "SELECT id, status FROM messages"))
    await write(database, [{"id": id_} for id_ in before])
    after = dict(await ask(database, "SELECT id, status FROM messages"))
    assert {state for id_, state in after.items() if id_ not in before} <= set(BIRTHS)
    assert before.keys() <= after.keys()
    taken = {(before[id_], after[id_]) for id_ in before if before[id_] != after[id_]}
    assert taken == steps
    assert taken <= ARROWS
    await each_change_has_its_event(database, before, after, unless=name in SILENT)


@pytest_twisted.ensureDeferred
async def test_only_a_phone_that_keeps_a_ledger_gives_a_ticket_back_that_it_had(database):
    await put(database, 1, "cancelled", **{**CARRIES["cancelled"], "attempts": 2, "ledger": True})
    with pytest.raises(DataRefused):
        await put(database, 2, "cancelled", **{**CARRIES["cancelled"], "attempts": 2})
