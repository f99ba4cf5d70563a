"""What happens in an org that listens is written down with it, in order; nobody else pays."""

import json

import pytest
import pytest_twisted
from databases import opened
from seed import OTHER_SESSION, SESSION, append, ask, claimed, pushed, sms, ticket
from twisted.internet.defer import Deferred, gatherResults

from smsd.domain.numbers import address_key
from smsd.domain.query import MessageQuery
from smsd.domain.records import Result
from smsd.store import erasure, events, limits, messages, phones, remedies, resumption, tickets
from smsd.store.events import Wanted
from smsd.store.messages import Pushed, Served, Told
from smsd.store.phones import SessionRow, SimRow
from smsd.store.resumption import InDoubt
from smsd.store.statements import Statement, named

DAY = 86_400
SIM = SimRow("1555", 0, "+1555", "SIM1", None)
PHONE = SessionRow("acme", SESSION, "device:handy")


async def listening(database, *org_ids):
    """Orgs that exist and listen; where the first one stands."""
    await claimed(database, *org_ids)
    first, *_ = [await events.listen(database, org_id, DAY) for org_id in org_ids]
    return first


async def told(database, org_id="acme", after=0, wanted=events.ALL):
    """What a reader finds: types and the messages or None."""
    page = await events.read(database, org_id, after, 1000, wanted)
    return [(event.type, event.message_id) for event in page.events]


async def shown(database, org_id="acme"):
    """Messages as GET /messages shows them, each as it is written there."""
    answer = (await messages.read(database, org_id, MessageQuery())).decode()
    decoder, rest, found = json.JSONDecoder(), answer.partition('"messages":[')[2], {}
    while rest.startswith("{"):
        message, end = decoder.raw_decode(rest)
        found[message["id"]], rest = rest[:end], rest[end:].lstrip(",")
    return found


async def write_appended(database):
    await append(database, sms(), ticket(), pushed())


async def write_settled(database):
    await append(database, pushed(), pushed())
    results = [
        Result(org_id="acme", id=1, success=True),
        Result(org_id="acme", id=2, success=False),
    ]
    await messages.settle(database, [Told(result) for result in results])


async def write_claimed(database):
    await append(database, ticket(), ticket())
    await messages.claim(
        database, "acme", serves=[Served("*", 1, "+1555", "1555")], session_id=SESSION,
        phone_id="?", ledger=False, places=5,
    )  # fmt: skip


async def write_put_back(database):
    await append(database, pushed(), pushed())
    ends = [Pushed("acme", 1, SESSION, "?", None, None), Pushed("acme", 2, SESSION, "?", 9, None)]
    await messages.end_pushes(database, ends)


async def write_unconfirmed(database):
    await append(database, pushed())
    await messages.fail_unconfirmed_everywhere(database, timeout=0.0, detail="late")


async def write_resent(database):
    await append(database, pushed(), pushed())
    await ask(database, "UPDATE messages SET receipted = 5 WHERE id = 2")
    await resumption.requeue_unconfirmed_everywhere(
        database, timeout=0.0, max_attempts=5, detail="hopeless"
    )


async def write_pushed_again(database):
    await append(database, pushed(), pushed())
    await ask(database, "UPDATE messages SET receipted = 5 WHERE id = 2")
    doubts = [InDoubt(id_, SESSION, True, True, True, 0) for id_ in (1, 2)]
    await resumption.push_again(
        database, "acme", doubts, session_id=OTHER_SESSION, phone_id="?", ledger=True,
        max_attempts=5, detail="hopeless",
    )  # fmt: skip


async def write_requeued_by_hand(database):
    await append(database, pushed())
    await remedies.requeue(database, "acme", 1)


async def write_failed_by_hand(database):
    await append(database, ticket())
    await remedies.fail(database, "acme", 1, "no more")


async def write_expired(database):
    await append(database, ticket())
    await ask(database, "UPDATE messages SET created_at = created_at - interval '1 hour'")
    assert [ended async for ended in limits.expire_everywhere(database, 60)] == [[("acme", 1)]]


async def write_cancelled(database):
    await append(database, ticket())
    assert await tickets.cancel(database, "acme", 1)


SENDING, QUEUED, SENT, FAILED = (f"ticket.{s}" for s in ("sending", "queued", "sent", "failed"))
#: What happens, and the events that tell of it.
HAPPENINGS = {
    "appended": (write_appended, [("message.received", 1), (QUEUED, 2), (SENDING, 3)]),
    "settled": (write_settled, [(SENDING, 1), (SENDING, 2), (SENT, 1), (FAILED, 2)]),
    "claimed": (write_claimed, [(QUEUED, 1), (QUEUED, 2), (SENDING, 1), (SENDING, 2)]),
    "put back": (write_put_back, [(SENDING, 1), (SENDING, 2), (QUEUED, 1)]),
    "unconfirmed": (write_unconfirmed, [(SENDING, 1), (FAILED, 1)]),
    "resent": (write_resent, [(SENDING, 1), (SENDING, 2), (QUEUED, 1), (FAILED, 2)]),
    "pushed again": (write_pushed_again, [(SENDING, 1), (SENDING, 2), (FAILED, 2)]),
    "requeued by hand": (write_requeued_by_hand, [(SENDING, 1), (QUEUED, 1)]),
    "failed by hand": (write_failed_by_hand, [(QUEUED, 1), (FAILED, 1)]),
    "cancelled": (write_cancelled, [(QUEUED, 1), ("ticket.cancelled", 1)]),
    "expired": (write_expired, [(QUEUED, 1), (FAILED, 1)]),
}


@pytest.mark.parametrize("name", list(HAPPENINGS))
@pytest_twisted.ensureDeferred
async def test_what_happens_to_a_message_is_told_in_order(database, name):
    await listening(database, "acme")
    happen, expected = HAPPENINGS[name]
    await happen(database)
    assert await told(database) == expected


@pytest.mark.parametrize("name", list(HAPPENINGS))
@pytest_twisted.ensureDeferred
async def test_an_org_that_does_not_listen_has_no_events_and_its_event_counter_stands(
    database, name
):
    await claimed(database, "acme")
    await HAPPENINGS[name][0](database)
    assert await ask(database, "SELECT count(*) FROM events") == [(0,)]
    assert (await events.bounds(database, ["acme"]))["acme"].last == 0


@pytest.mark.parametrize("name", [name for name in HAPPENINGS if name != "pushed again"])
@pytest_twisted.ensureDeferred
async def test_the_last_event_shows_the_message_as_it_is_read(database, name):
    """To the letter. A push that is repeated is no event, though it counts as an attempt."""
    await listening(database, "acme")
    await HAPPENINGS[name][0](database)
    page = await events.read(database, "acme", 0, 1000)
    newest = {event.message_id: event.data for event in page.events}
    if name == "expired":  # its birth was moved by the test, after it had been told of
        assert json.loads(newest[1])["error"] == "expired"
    if name == "put back":  # of the one that was written to a socket nothing new is known
        assert (await shown(database))[1] == newest[1]
    else:
        assert await shown(database) == newest


def row_texts(number):
    return [sms(body=f'"{at}" \\ é 😀 \u2028\n', sim_slot=at % 2) for at in range(number)]


@pytest_twisted.ensureDeferred
async def test_a_strangers_words_come_through_unchanged(database):
    await listening(database, "acme")
    rows = row_texts(3)
    await append(database, *rows)
    page = await events.read(database, "acme", 0, 10)
    assert [json.loads(event.data)["body"] for event in page.events] == [r.body for r in rows]


@pytest_twisted.ensureDeferred
async def test_a_message_that_was_stored_before_is_told_of_once(database):
    start = await listening(database, "acme")
    rows = [sms(id="a", date=1), sms(id="a", date=1), sms(id="b", date=1)]
    await append(database, *rows)
    await append(database, *rows)
    assert await told(database) == [("message.received", 1), ("message.received", 3)]
    page = await events.read(database, "acme", start.last, 1000)
    assert not page.more
    assert page.upto == page.bounds.last >= page.events[-1].id


# -- phones ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_phones_that_come_say_which_sims_they_hold_and_go_are_told_of(database):
    await listening(database, "acme")
    await phones.beat(database, "node")
    reporting = SessionRow("acme", SESSION, "device:handy", [SIM])
    await phones.begin(database, "node", [PHONE])
    await phones.begin(database, "node", [PHONE])
    await phones.report(database, [reporting])
    await phones.report(database, [reporting])
    await phones.end(database, [PHONE])
    await phones.end(database, [PHONE])
    page = await events.read(database, "acme", 0, 1000)
    assert [e.type for e in page.events] == ["phone.online", "sims.changed", "phone.offline"]
    first, *others = [json.loads(event.data) for event in page.events]
    assert list(first) == ["session", "device_id", "connected_at", "sims"]
    assert (first["session"], first["device_id"], first["sims"]) == (SESSION, "handy", [])
    sims = [{"slot": 0, "number": "+1555", "label": "SIM1", "carrier": None}]
    assert others == [{**first, "sims": sims}] * 2


@pytest.mark.parametrize("end", ["leaves", "dies"])
@pytest_twisted.ensureDeferred
async def test_phones_of_a_node_that_is_no_more_are_off_line(database, end):
    await listening(database, "acme", "beta")
    await claimed(database, "deaf")
    await phones.beat(database, "node")
    rows = [SessionRow(org_id, SESSION, "?") for org_id in ("acme", "beta", "deaf")]
    await phones.begin(database, "node", rows)
    if end == "leaves":
        await phones.leave(database, "node")
    else:
        await ask(database, "UPDATE nodes SET seen_at = seen_at - interval '1 hour'")
        assert await phones.sweep_nodes_everywhere(database) == ["node"]
    for org_id in ("acme", "beta"):
        assert await told(database, org_id) == [("phone.online", None), ("phone.offline", None)]
    assert await ask(database, "SELECT count(*) FROM events") == [(4,)]


# -- readers ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_reader_is_shown_what_it_asks_for_and_where_to_go_on(database):
    await listening(database, "acme")
    await append(
        database,
        sms(address="+1 555 000", sim_slot=1, number="+1777"),
        ticket(sim="0", to="+1999"),
        sms(address="BANK"),
    )
    for wanted, found in [
        (Wanted(types=("message.received",)), [1, 3]),
        (Wanted(types=()), []),
        (Wanted(direction="out"), [2]),
        (Wanted(address_key=address_key("+1555000")), [1]),
        (Wanted(address_key=address_key("bank")), [3]),
        (Wanted(sim="1777"), [1]),
        (Wanted(sim=0), [2]),
        (Wanted(direction="in", sim="0"), []),
    ]:
        assert [id_ for _, id_ in await told(database, wanted=wanted)] == found, wanted
        page = await events.read(database, "acme", 0, 1000, wanted)
        assert (page.upto, page.more) == (page.bounds.last, False)


@pytest_twisted.ensureDeferred
async def test_a_walk_in_small_steps_sees_every_event_once_also_through_a_filter(database):
    start = await listening(database, "acme")
    await append(database, *[sms() if at % 7 else ticket() for at in range(50)])
    for wanted, number in [(events.ALL, 50), (Wanted(direction="out"), 8)]:
        after, seen, more = start.last, [], True
        while more:
            page = await events.read(database, "acme", after, 4, wanted)
            after, more = page.upto, page.more
            seen += [event.id for event in page.events]
        assert seen == sorted(set(seen))
        assert (len(seen), after) == (number, page.bounds.last)


@pytest_twisted.ensureDeferred
async def test_nobody_reads_or_listens_to_an_org_that_does_not_exist(database):
    assert await events.listen(database, "nobody", DAY) is None
    assert await events.read(database, "nobody", 0, 5) is None
    assert await events.bounds(database, ["nobody"]) == {}


@pytest_twisted.ensureDeferred
async def test_listening_again_writes_nothing_until_it_must(database):
    await listening(database, "acme")
    look = "SELECT xmin::text, listens_until FROM org_counters"
    before = await ask(database, look)
    await events.listen(database, "acme", DAY)
    assert await ask(database, look) == before
    await events.listen(database, "acme", 2 * DAY)
    assert await ask(database, look) != before


@pytest_twisted.ensureDeferred
async def test_orgs_whose_readers_stay_go_on_listening_in_one_statement(database):
    start = await listening(database, "acme", "beta", "calm")
    ends = "SELECT org_id, listens_until FROM org_counters ORDER BY org_id"
    before = await ask(database, ends)
    await events.listen_on(database, ["acme", "beta"], DAY)
    assert await ask(database, ends) == before  # each had longer than it must
    later = [2 * DAY, 2 * DAY, DAY]
    await events.listen_on(database, ["acme", "beta", "nobody"], 2 * DAY)
    assert [row for row in await ask(database, ends) if row in before] == before[2:]
    left = "SELECT extract(epoch FROM listens_until - now())::int FROM org_counters ORDER BY org_id"
    assert all(
        seconds >= least for (seconds,), least in zip(await ask(database, left), later, strict=True)
    )
    assert (await events.bounds(database, ["acme"]))["acme"] == start


@pytest_twisted.ensureDeferred
async def test_who_goes_on_listening_too_late_has_a_cursor_that_missed_something(database):
    start = await listening(database, "acme")
    await ask(database, "UPDATE org_counters SET listens_until = now() - interval '1 second'")
    await append(database, sms())
    await events.listen_on(database, ["acme"], DAY)
    page = await events.read(database, "acme", start.last, 5)
    assert start.last < page.bounds.first == page.bounds.last


@pytest_twisted.ensureDeferred
async def test_listening_on_does_not_wait_for_a_counter_that_is_held(database):
    await listening(database, "acme", "beta")

    async def meanwhile(tx):
        await tx.run(
            Statement("hold", "SELECT 1 FROM org_counters WHERE org_id = 'acme' FOR UPDATE")
        )
        await events.listen_on(database, ["acme", "beta"], 2 * DAY)

    await database.transaction("hold", meanwhile)
    longer = "SELECT org_id FROM org_counters WHERE listens_until > now() + interval '2 days'"
    assert await ask(database, longer) == [("beta",)]


@pytest_twisted.ensureDeferred
async def test_who_comes_back_after_nobody_listened_has_a_cursor_that_missed_something(database):
    start = await listening(database, "acme")
    await append(database, sms())
    (event,) = (await events.read(database, "acme", start.last, 5)).events
    again = await events.listen(database, "acme", 2 * DAY)
    assert again.first <= start.last
    await ask(database, "UPDATE org_counters SET listens_until = now() - interval '1 second'")
    await append(database, sms())
    assert (await events.read(database, "acme", event.id, 5)).events == []
    after = await events.listen(database, "acme", DAY)
    assert event.id < after.first == after.last
    await append(database, sms())
    assert await told(database, after=after.last) == [("message.received", 3)]


@pytest_twisted.ensureDeferred
async def test_old_events_go_and_a_cursor_before_the_last_of_them_missed_something(database):
    start = await listening(database, "acme", "beta", "calm")
    for org_id in ("acme", "beta"):
        await append(database, *[sms(org_id) for _ in range(3)])
    await ask(
        database,
        "UPDATE events SET at = at - interval '8 days' WHERE id <= %(id)s AND org_id = 'acme'",
        id=start.last + 2,
    )
    assert await events.prune_everywhere(database, 7 * DAY) == 2
    assert await events.prune_everywhere(database, 7 * DAY) == 0
    assert await told(database) == [("message.received", 3)]
    assert len(await told(database, "beta")) == 3
    found = await events.bounds(database, ["acme", "beta"])
    assert found["acme"].first == start.last + 2
    assert found["beta"].first == start.last


@pytest_twisted.ensureDeferred
async def test_events_that_are_as_old_go_with_old_messages(database):
    await listening(database, "acme")
    await append(database, sms(), sms())
    for table in ("events", "messages"):
        column = "at" if table == "events" else "created_at"
        await ask(database, f"UPDATE {table} SET {column} = now() - interval '3 days'")
    await append(database, sms())
    assert await erasure.prune(database, 2) == 2
    assert await told(database) == [("message.received", 3)]


@pytest_twisted.ensureDeferred
async def test_pruning_goes_on_until_nothing_old_is_left_of_any_org(database, monkeypatch):
    monkeypatch.setattr(events, "BATCH", 2)
    monkeypatch.setattr(events, "ORGS", 2)
    org_ids = [f"org-{at}" for at in range(5)]
    await listening(database, *org_ids)
    for org_id in org_ids:
        await append(database, *[sms(org_id) for _ in range(5)])
    await ask(database, "UPDATE events SET at = at - interval '8 days'")
    assert await events.prune_everywhere(database, 7 * DAY) == 25


# -- what goes for good ----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_one_person_wrote_is_forgotten_in_events_too(database):
    await listening(database, "acme")
    await append(database, sms(address="+1555"), sms(address="+1666"), ticket(to="+1555"))
    assert await erasure.forget(database, "acme", address_key("+1555")) == 2
    assert await told(database) == [("message.received", 2)]


@pytest_twisted.ensureDeferred
async def test_an_org_that_is_deleted_takes_its_events_along_and_is_silent_then(database):
    await listening(database, "acme", "beta")
    await append(database, sms(), sms("beta"))
    assert await erasure.delete_org(database, "acme") is None
    await ask(database, "UPDATE orgs SET pepper_id = 'closed' WHERE org_id = 'acme'")
    await ask(database, "DELETE FROM messages WHERE org_id = 'acme'")
    assert await erasure.delete_org(database, "acme") is None
    await erasure.erase(database, "acme")
    assert await erasure.delete_org(database, "acme") is not None
    before = (await events.bounds(database, ["acme"]))["acme"]
    await claimed(database, "acme")
    await append(database, sms())
    assert await ask(database, "SELECT org_id FROM events") == [("beta",)]
    after = await events.listen(database, "acme", DAY)
    assert after.first > before.last


@pytest_twisted.ensureDeferred
async def test_after_a_restore_every_cursor_has_missed_something(database):
    await listening(database, "acme")
    await append(database, sms())
    before = (await events.bounds(database, ["acme"]))["acme"]
    await database.run(named("move_counters_everywhere"))
    after = (await events.bounds(database, ["acme"]))["acme"]
    assert after.first == after.last == before.last + 1_000_000


# -- many at once ----------------------------------------------------------------------------


async def busy(database, org_ids, session_id, rounds):
    """What a node does all the time, on the same orgs as the others."""
    for at in range(rounds):
        orgs = org_ids if at % 2 else org_ids[::-1]
        rows = [
            row(org_id)
            for org_id in orgs
            for row in (sms, ticket, lambda o: pushed(o, session_id=session_id))
        ]
        ids = await append(database, *rows)
        for org_id in orgs:
            await messages.claim(
                database, org_id, serves=[Served("*")], session_id=session_id, phone_id="?",
                ledger=False, places=2,
            )  # fmt: skip
        given = [(row.org_id, id_) for row, id_ in zip(rows, ids, strict=True) if row.session_id]
        results = [Result(org_id=org_id, id=id_, success=at % 3 > 0) for org_id, id_ in given]
        await messages.settle(database, [Told(result) for result in results])
        await messages.fail_unconfirmed_everywhere(database, timeout=0.05, detail="late")


async def walk(database, org_id, start, seen, done):
    """A reader that never waits, while others write."""
    after = start
    while not done or (await events.bounds(database, [org_id]))[org_id].last > after:
        page = await events.read(database, org_id, after, 20)
        seen += page.events
        after = page.upto


@pytest_twisted.ensureDeferred
async def test_nodes_that_write_at_once_give_ids_in_commit_order_and_never_deadlock(
    database, conninfo
):
    """A reader that walks meanwhile misses nothing: it sees what is in the table at the end."""
    org_ids = ["acme", "beta", "gamma"]
    start = await listening(database, *org_ids)
    await claimed(database, "deaf")
    nodes = [await opened(conninfo, 2) for _ in range(4)]
    seen, done = {org_id: [] for org_id in org_ids}, []
    readers = [
        Deferred.fromCoroutine(walk(nodes[3], org_id, start.last, seen[org_id], done))
        for org_id in org_ids
    ]
    writers = [
        Deferred.fromCoroutine(busy(node, [*org_ids, "deaf"], session, 12))
        for node, session in zip(nodes, (SESSION, OTHER_SESSION, SESSION), strict=False)
    ]
    try:
        await gatherResults(writers, consumeErrors=True)
    finally:
        done.append(True)
        await gatherResults(readers, consumeErrors=True)
        for node in nodes:
            await node.close()
    for org_id in org_ids:
        table = await ask(
            database, "SELECT id FROM events WHERE org_id = %(o)s ORDER BY id", o=org_id
        )
        assert [event.id for event in seen[org_id]] == [id_ for (id_,) in table]
        last = {event.message_id: event.type for event in seen[org_id]}
        rows = await ask(
            database,
            "SELECT id, CASE direction WHEN 'in' THEN 'message.received'"
            " ELSE 'ticket.' || status END FROM messages WHERE org_id = %(o)s",
            o=org_id,
        )
        assert last == dict(rows)
