"""Messages are stored once, handed over oldest first, settled by the table of states, and read."""

import json
import re
from itertools import product

import pytest
import pytest_twisted
from seed import (
    OTHER_SESSION,
    SESSION,
    append,
    ask,
    claimed,
    pushed,
    sms,
    stored,
    ticket,
)
from twisted.internet.defer import Deferred, gatherResults

from smsd.domain.lifecycle import RESULTS, STATES
from smsd.domain.query import MessageQuery
from smsd.domain.records import Result
from smsd.store import messages
from smsd.store.messages import Pushed, Served, Told
from smsd.store.trouble import DataRefused


def at_once(*coroutines):
    return gatherResults([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)


# -- storing once ----------------------------------------------------------------------------

RETRY = {"id": "7", "date": 1700000000000, "body": "once"}


async def settle(database, results):
    return await messages.settle(database, [Told(result) for result in results])


@pytest_twisted.ensureDeferred
async def test_a_retry_in_the_same_statement_is_stored_once(database):
    await claimed(database, "acme")
    ids = await append(database, sms(**RETRY), sms(**RETRY), sms(**{**RETRY, "id": 7}))
    assert len(ids) == 3
    assert await stored(database, "body") == [("once",)]


@pytest_twisted.ensureDeferred
async def test_a_retry_in_a_later_statement_is_stored_once(database):
    await claimed(database, "acme")
    await append(database, sms(**RETRY))
    assert len(await append(database, sms(**{**RETRY, "id": 7.0}), sms(body="new"))) == 2
    assert await stored(database, "body") == [("once",), ("new",)]


@pytest_twisted.ensureDeferred
async def test_a_retry_on_another_connection_waits_for_the_first_and_is_stored_once(database):
    await claimed(database, "acme")

    async def first(tx):
        await append(tx, sms(**RETRY))
        second = Deferred.fromCoroutine(append(database, sms(**RETRY)))
        await until_somebody_waits_for_a_lock(tx)
        assert not second.called
        return [second]

    (second,) = await database.transaction("first", first)
    await second
    assert await stored(database, "body") == [("once",)]


async def until_somebody_waits_for_a_lock(tx):
    for _ in range(2000):
        ((waiting,),) = await ask(tx, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        if waiting:
            return
    raise AssertionError("nobody waits for a lock")


@pytest_twisted.ensureDeferred
async def test_another_text_under_the_same_id_is_another_message(database):
    await claimed(database, "acme", "other")
    changed = ({"body": "two"}, {"date": 1}, {"date": None}, {"address": "+2"})
    await append(database, sms(**RETRY), *(sms(**{**RETRY, **change}) for change in changed))
    await append(database, sms("other", **RETRY))
    assert len(await stored(database)) == 5
    assert len(await stored(database, org_id="other")) == 1


@pytest_twisted.ensureDeferred
async def test_without_an_id_nothing_is_folded(database):
    await claimed(database, "acme")
    await append(database, sms(), sms(), sms(id=""), sms(id=1.5))
    await append(database, sms())
    assert len(await stored(database)) == 5


@pytest_twisted.ensureDeferred
async def test_an_sms_keeps_what_the_phone_said_of_it(database):
    await claimed(database, "acme")
    said = {"address": "My Bank", "body": "a\0b", "date": "17", "sim_slot": "1", "sim_number": "+1"}
    await append(database, sms(**said), sms(address=None, body=None, sim_slot=-1, date=10**40))
    columns = "address, address_key, body, device_ts, sim_slot, sim_number, sim_digits, status"
    assert await stored(database, columns) == [
        ("My Bank", "my bank", "a\ufffdb", 17, 1, "+1", "1", "received"),
        ("", "", "", None, None, None, None, "received"),
    ]


@pytest_twisted.ensureDeferred
async def test_an_sms_of_the_greatest_size_fits_with_its_keys(database):
    await claimed(database, "acme")
    await append(database, sms(address="İ" * 256, body="😀" * 65_536, id=1, sim_number="9" * 64))
    assert await stored(database, "length(body), length(sim_digits)") == [(65_536, 64)]


@pytest_twisted.ensureDeferred
async def test_a_row_of_no_org_is_left_out_and_its_neighbours_are_stored(database):
    await claimed(database, "acme", "gone")
    await append(database, sms("gone"))
    await ask(database, "DELETE FROM orgs WHERE org_id = 'gone'")
    rows = [sms(), sms("nobody"), sms("gone", body="late"), sms()]
    for at, row in enumerate(rows):
        row.ord = at
    assert sorted(await messages.append(database, rows)) == [0, 3]
    assert await stored(database, "body", "nobody") == []
    assert await stored(database, "body", "gone") == [("hi",)]


@pytest_twisted.ensureDeferred
async def test_one_row_that_is_refused_refuses_its_statement_and_uses_no_id(database):
    await claimed(database, "acme")
    with pytest.raises(DataRefused):
        await append(database, ticket(), ticket(body="nul\0"))
    assert await stored(database) == []
    assert await append(database, ticket()) == [1]


# -- which SIM -------------------------------------------------------------------------------

SIMS = (
    "INSERT INTO sims (org_id, sim_key, slot, number, last_seen) VALUES ('{}', '{}', {}, {}, now())"
)


@pytest.mark.parametrize(
    ("known", "filled"),
    [
        ([], (None, None)),
        ([("acme", "1555", 0, "'+1555'")], ("+1555", "1555")),
        ([("acme", "1555", 1, "'+1555'")], (None, None)),
        ([("other", "1555", 0, "'+1555'")], (None, None)),
        ([("acme", "1555", 0, "'+1555'"), ("acme", "1666", 0, "'+1666'")], (None, None)),
        ([("acme", "1555", 0, "'+1555'"), ("acme", "?:0", 0, "NULL")], (None, None)),
        ([("acme", "1555", 0, "'+1555'"), ("acme", "1666", 1, "'+1666'")], ("+1555", "1555")),
        ([("acme", "?:0", 0, "NULL")], (None, None)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_number_is_filled_in_only_from_the_one_sim_of_that_slot(database, known, filled):
    await claimed(database, "acme", "other")
    for sim in known:
        await ask(database, SIMS.format(*sim))
    await append(database, sms(sim_slot=0), sms(), sms(sim_slot=0, sim_number="+9"))
    assert await stored(database, "sim_number, sim_digits") == [filled, (None, None), ("+9", "9")]


@pytest_twisted.ensureDeferred
async def test_what_the_phone_itself_reports_for_the_slot_goes_first(database):
    await claimed(database, "acme")
    await ask(database, SIMS.format("acme", "1555", 0, "'+1555'"))
    await append(database, sms(sim_slot=0, number="+1 777"))
    assert await stored(database, "sim_number, sim_digits") == [("+1 777", "1777")]


# -- results ---------------------------------------------------------------------------------

AS_IT_WAS = {
    "queued": "status = 'queued'",
    "sending": "status = 'sending'",
    "sent": "status = 'sent', sent_at = '2001-01-01Z'",
    "failed": "status = 'failed', error = 'unconfirmed', error_detail = 'late'",
    "cancelled": "status = 'cancelled', ledger = true",
    "expired": "status = 'expired', expires_at = '2001-01-01Z'",
    "delivered": "status = 'delivered', receipt = true, sent_at = now(), delivered_at = now()",
}


async def in_state(database, state, **more):
    """A ticket that was pushed once and is now in this state."""
    (id_,) = await append(database, pushed(**more))
    change = f"UPDATE messages SET {AS_IT_WAS[state]} WHERE org_id = 'acme' AND id = %(id)s"
    await ask(database, change, id=id_)
    return id_


async def row_of(database, id_):
    columns = "status, error, error_detail, sent_at::text"
    (row,) = await ask(database, f"SELECT {columns} FROM messages WHERE id = %(id)s", id=id_)
    return row


@pytest.mark.parametrize(("leaves", "success"), list(product(STATES, [True, False])))
@pytest_twisted.ensureDeferred
async def test_a_result_takes_the_steps_of_the_table_and_no_others(database, leaves, success):
    await claimed(database, "acme")
    id_ = await in_state(database, leaves)
    before = await row_of(database, id_)
    result = Result(org_id="acme", id=id_, success=success, error="no credit", sent_at=1000)
    verdict = await settle(database, [result])
    after = await row_of(database, id_)
    if (leaves, result.status) not in RESULTS:
        assert (verdict, after) == (["repeated"], before)
    elif success:
        assert (verdict, after) == (["settled"], ("sent", None, None, "1970-01-01 00:00:01+00"))
    else:
        assert (verdict, after) == (["settled"], ("failed", "phone_failed", "no credit", None))


@pytest_twisted.ensureDeferred
async def test_a_repeated_result_changes_nothing(database):
    await claimed(database, "acme")
    id_ = await in_state(database, "sending")
    for verdict, sent_at in (("settled", 1000), ("repeated", 2000)):
        result = Result(org_id="acme", id=id_, success=True, sent_at=sent_at)
        assert await settle(database, [result]) == [verdict]
    assert (await row_of(database, id_))[3] == "1970-01-01 00:00:01+00"


@pytest_twisted.ensureDeferred
async def test_the_clock_says_when_where_the_phone_does_not(database):
    await claimed(database, "acme")
    id_ = await in_state(database, "sending")
    await settle(database, [Result(org_id="acme", id=id_, success=True)])
    ((late,),) = await ask(database, "SELECT clock_timestamp() - sent_at < '1min' FROM messages")
    assert late


@pytest_twisted.ensureDeferred
async def test_a_result_for_what_was_never_pushed_is_for_an_unknown_ticket(database):
    await claimed(database, "acme", "other")
    (queued, inbound) = await append(database, ticket(), sms())
    sending = await in_state(database, "sending")
    asked = [("acme", queued), ("acme", inbound), ("other", sending), ("acme", 99), ("nobody", 1)]
    results = [Result(org_id=org_id, id=id_, success=True) for org_id, id_ in asked]
    assert await settle(database, results) == ["unknown"] * len(asked)
    assert await stored(database, "status") == [("queued",), ("received",), ("sending",)]


@pytest_twisted.ensureDeferred
async def test_a_result_with_the_ref_of_another_ticket_is_ignored(database):
    await claimed(database, "acme")
    id_ = await in_state(database, "sending", ref="aa")
    for ref, verdict in (
        ("bb", "ignored"),
        ("aa", "settled"),
        ("bb", "ignored"),
        (None, "repeated"),
    ):
        result = Result(org_id="acme", id=id_, success=True, ref=ref)
        assert await settle(database, [result]) == [verdict]


@pytest_twisted.ensureDeferred
async def test_verdicts_come_in_the_order_of_the_results(database):
    await claimed(database, "acme")
    ids = await append(database, *(pushed() for _ in range(20)))
    results = [Result(org_id="acme", id=id_, success=True) for id_ in reversed(ids)]
    results.insert(5, Result(org_id="acme", id=999, success=True))
    verdicts = await settle(database, results)
    assert [at for at, verdict in enumerate(verdicts) if verdict == "unknown"] == [5]


@pytest_twisted.ensureDeferred
async def test_two_batches_of_results_in_opposite_order_do_not_deadlock(database):
    await claimed(database, "acme", "other")
    rows = [pushed(org_id) for org_id in ("acme", "other") for _ in range(300)]
    ids = await append(database, *rows)
    places = [(row.org_id, id_) for row, id_ in zip(rows, ids, strict=True)]
    results = [Result(org_id=org_id, id=id_, success=True) for org_id, id_ in places]
    one, other = await at_once(settle(database, results), settle(database, results[::-1]))
    assert sorted(one + other) == ["repeated"] * 600 + ["settled"] * 600


# -- claiming --------------------------------------------------------------------------------


async def claim(database, *serves, places=100, org_id="acme", session_id=SESSION):
    served = [Served(each) if isinstance(each, str) else each for each in serves]
    handed = await messages.claim(
        database,
        org_id,
        serves=served,
        session_id=session_id,
        phone_id="dev",
        ledger=False,
        places=places,
    )
    return handed.tickets


@pytest_twisted.ensureDeferred
async def test_the_oldest_tickets_of_all_queues_go_first(database):
    await claimed(database, "acme", "other")
    await append(database, *(ticket(sim=sim) for sim in ["+1", None, 0, "+2", None, 0, "+1"]))
    await append(database, ticket("other"), sms())
    assert [t.id for t in await claim(database, "*", "slot:0", places=3)] == [2, 3, 5]
    assert [t.id for t in await claim(database, "*", "slot:0", "1")] == [1, 6, 7]
    assert await claim(database, "*", "slot:0", "1") == []
    assert [t.id for t in await claim(database, "2", "9")] == [4]


@pytest_twisted.ensureDeferred
async def test_no_places_are_no_tickets(database):
    await claimed(database, "acme")
    await append(database, ticket())
    assert await claim(database, "*", places=0) == []
    assert await claim(database) == []


@pytest_twisted.ensureDeferred
async def test_a_claimed_ticket_carries_what_a_phone_must_know(database):
    await claimed(database, "acme")
    await append(database, ticket(sim=0, to="+1999", body="go", ref="ab"))
    (taken,) = await claim(database, "slot:0")
    assert (taken.org_id, taken.id, taken.to, taken.body) == ("acme", 1, "+1999", "go")
    assert (taken.sim, taken.ref, taken.attempt) == ("0", "ab", 1)
    columns = "status, attempts, session_id, phone_id, handed_at IS NULL, pushed_at, received_at"
    assert await stored(database, columns) == [("sending", 1, SESSION, "dev", False, None, None)]


@pytest_twisted.ensureDeferred
async def test_the_sim_that_took_it_is_written_down_where_it_is_known(database):
    await claimed(database, "acme")
    await append(database, ticket(), ticket(sim=1), ticket(sim="+1 555"))
    await claim(database, Served("*", 0, "+1444", "1444"), Served("slot:1"), Served("1555", 2))
    assert await stored(database, "sim_slot, sim_number, sim_digits") == [
        (0, "+1444", "1444"),
        (1, None, None),
        (2, "+1 555", "1555"),
    ]


@pytest_twisted.ensureDeferred
async def test_two_claimers_at_once_never_share_a_ticket(database):
    await claimed(database, "acme")
    await append(database, *(ticket() for _ in range(200)))
    taken = {SESSION: [], OTHER_SESSION: []}

    async def keep_claiming(session_id):
        while sum(map(len, taken.values())) < 200:
            found = await claim(database, "*", places=7, session_id=session_id)
            taken[session_id] += [t.id for t in found]

    await at_once(*(keep_claiming(session_id) for session_id in taken))
    assert sorted(taken[SESSION] + taken[OTHER_SESSION]) == list(range(1, 201))
    for session_id, ids in taken.items():
        found = "SELECT id FROM messages WHERE session_id = %(s)s::uuid ORDER BY id"
        assert [id_ for (id_,) in await ask(database, found, s=session_id)] == ids


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_another_claimer_holds_is_passed_over(database):
    await claimed(database, "acme")
    await append(database, ticket(), ticket())

    async def body(tx):
        await ask(tx, "SELECT FROM messages WHERE id = 1 FOR UPDATE")
        return [t.id for t in await claim(database, "*")]

    assert await database.transaction("hold", body) == [2]


@pytest_twisted.ensureDeferred
async def test_who_waits_is_known_by_org(database):
    await claimed(database, "acme", "other", "third")
    await append(database, ticket(), pushed("other"), sms("third"))
    assert await messages.waiting_orgs(database, ["acme", "other", "third", "nobody"]) == ["acme"]


# -- the end of a session --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_is_known_of_a_push_decides_where_its_ticket_goes(database):
    await claimed(database, "acme")
    await append(database, *(pushed() for _ in range(4)))
    ends = [(1, None, None), (2, 1000, None), (3, 1000, 2000)]
    pushes = [Pushed("acme", id_, SESSION, "?", sent, read) for id_, sent, read in ends]
    changed = await messages.end_pushes(database, pushes)
    assert sorted(changed) == [
        ("acme", 1, "queued", "*"),
        ("acme", 2, "sending", "*"),
        ("acme", 3, "sending", "*"),
    ]
    columns = (
        "status, attempts, handed_at IS NULL,"
        " extract(epoch FROM pushed_at)::int, extract(epoch FROM received_at)::int"
    )
    assert await stored(database, columns) == [
        ("queued", 0, True, None, None),
        ("sending", 1, False, 1, None),
        ("sending", 1, False, 1, 2),
        ("sending", 1, False, None, None),
    ]


@pytest_twisted.ensureDeferred
async def test_a_ticket_that_was_pushed_before_stays_known_when_it_goes_back(database):
    await claimed(database, "acme")
    await append(database, pushed(attempts=2))
    await messages.end_pushes(database, [Pushed("acme", 1, SESSION, "?", None, None)])
    columns = "status, attempts, handed_at IS NULL"
    assert await stored(database, columns) == [("sending", 1, False)]
    result = Result(org_id="acme", id=1, success=True)
    assert await settle(database, [result]) == ["settled"]


@pytest_twisted.ensureDeferred
async def test_only_the_open_tickets_of_that_very_session_are_touched(database):
    await claimed(database, "acme", "other")
    await append(database, pushed(), pushed(session_id=OTHER_SESSION), ticket())
    await append(database, pushed("other"))
    await settle(database, [Result(org_id="acme", id=1, success=True)])
    pushes = [Pushed("acme", id_, SESSION, "?", None, None) for id_ in (1, 2, 3, 99)]
    assert await messages.end_pushes(database, pushes) == []
    assert await stored(database, "status, attempts") == [
        ("sent", 1),
        ("sending", 1),
        ("queued", 0),
    ]
    assert await stored(database, "status", "other") == [("sending",)]


@pytest_twisted.ensureDeferred
async def test_tickets_that_nobody_confirmed_end(database):
    await claimed(database, "acme", "other")
    await append(database, pushed(), pushed(), ticket(), pushed("other"))
    await ask(database, "UPDATE messages SET handed_at = now() - interval '11 min' WHERE id <> 2")
    await ask(database, "UPDATE messages SET handed_at = NULL WHERE status = 'queued'")
    ended = await messages.fail_unconfirmed_everywhere(database, timeout=600.0, detail="No word.")
    assert sorted(ended) == [("acme", 1), ("other", 1)]
    assert await stored(database, "status, error, error_detail") == [
        ("failed", "unconfirmed", "No word."),
        ("sending", None, None),
        ("queued", None, None),
    ]
    late = Result(org_id="acme", id=1, success=True)
    assert await settle(database, [late]) == ["settled"]
    assert (await stored(database, "status, error, error_detail"))[0] == ("sent", None, None)


@pytest_twisted.ensureDeferred
async def test_a_ticket_whose_result_is_being_written_is_not_ended(database):
    await claimed(database, "acme")
    await append(database, pushed())

    async def body(tx):
        await ask(tx, "SELECT FROM messages FOR UPDATE")
        return await messages.fail_unconfirmed_everywhere(database, timeout=0.0, detail="")

    assert await database.transaction("hold", body) == []


# -- reading ---------------------------------------------------------------------------------

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
IN_KEYS = ["id", "direction", "address", "body", "sim_slot", "sim_number", "status", "device_ts"]
IN_KEYS += ["created_at"]
OUT_KEYS = [*IN_KEYS, "sent_at", "attempts", "error", "error_detail"]


async def read(database, org_id="acme", **query):
    """The answer of GET /messages, and that it counts right."""
    answer = json.loads(await messages.read(database, org_id, MessageQuery(**query)))
    assert list(answer) == ["org_id", "count", "messages"]
    assert answer["org_id"] == org_id
    assert answer["count"] == len(answer["messages"])
    return answer["messages"]


async def ids_of(database, **query):
    return [row["id"] for row in await read(database, **query)]


@pytest_twisted.ensureDeferred
async def test_an_sms_that_arrived_reads_as_the_contract_says(database):
    await claimed(database, "acme")
    body = 'quote " back \\ slash \n line \u2028 \x01 \U0001f600 </script>'
    await append(database, sms(body=body, date=5, sim_slot=0, sim_number="+1"))
    (row,) = await read(database)
    assert list(row) == IN_KEYS
    assert RFC_3339.fullmatch(row.pop("created_at"))
    assert row == {
        "id": 1,
        "direction": "in",
        "address": "+15551112222",
        "body": body,
        "sim_slot": 0,
        "sim_number": "+1",
        "status": "received",
        "device_ts": 5,
    }


@pytest_twisted.ensureDeferred
async def test_a_ticket_reads_as_the_contract_says(database):
    await claimed(database, "acme")
    await append(database, ticket(sim="+1555"), pushed())
    await settle(database, [Result(org_id="acme", id=2, success=False, error="no")])
    await append(database, pushed())
    await settle(database, [Result(org_id="acme", id=3, success=True, sent_at=1)])
    queued, failed, sent = await read(database)
    assert list(queued) == list(failed) == list(sent) == OUT_KEYS
    told = ["status", "sim_slot", "sim_number", "sent_at", "attempts", "error", "error_detail"]
    assert [queued[key] for key in told] == ["queued", None, "+1555", None, 0, None, None]
    assert [failed[key] for key in told[:1] + told[4:]] == ["failed", 1, "phone_failed", "no"]
    assert RFC_3339.fullmatch(sent["sent_at"])
    assert sent["sent_at"] == "1970-01-01T00:00:00.001+00:00"
    assert queued["device_ts"] is None


@pytest_twisted.ensureDeferred
async def test_nothing_found_is_an_empty_list(database):
    await claimed(database, "acme", "other")
    await append(database, sms("other"))
    assert await read(database) == []
    assert await read(database, org_id="nobody") == []


FILTERS = [
    ({}, [1, 2, 3, 4, 5, 6, 7]),
    ({"direction": "in"}, [1, 2, 3]),
    ({"direction": "out"}, [4, 5, 6, 7]),
    ({"status": "received"}, [1, 2, 3]),
    ({"status": "queued"}, [4, 5, 6]),
    ({"status": "sending"}, [7]),
    ({"status": "sent"}, []),
    ({"address": " (1) 555-0001"}, [1, 4]),
    ({"address": "MY bank"}, [2]),
    ({"sim": "0"}, [1, 5]),
    ({"sim": "15"}, [2]),
    ({"sim": "+1 777"}, [2, 6]),
    ({"sim": "1777"}, [2, 6]),
    ({"sim": "16"}, []),
    ({"since_id": 5}, [6, 7]),
    ({"since_id": 2**63 - 1}, []),
    ({"before_id": 3}, [1, 2]),
    ({"since_id": 2, "before_id": 5}, [3, 4]),
    ({"limit": 2}, [1, 2]),
    ({"limit": 2, "since_id": 2}, [3, 4]),
    ({"direction": "out", "sim": "0", "status": "queued", "address": "1"}, []),
    ({"direction": "out", "sim": "1777", "status": "queued", "since_id": 4, "limit": 1}, [6]),
]


@pytest_twisted.ensureDeferred
async def test_every_filter_in_both_orders(database):
    await claimed(database, "acme", "other")
    await append(
        database,
        sms(address="+15550001", sim_slot=0),
        sms(address="My Bank", sim_slot=15, sim_number="+1-777"),
        sms(address="+15550002"),
        ticket(to="15550001"),
        ticket(sim=0),
        ticket(sim="+1777"),
        pushed(),
    )
    await append(database, *(sms("other", address="My Bank", sim_slot=0) for _ in range(9)))
    for query, expected in FILTERS:
        assert await ids_of(database, **query) == expected, query
        whole = {key: value for key, value in query.items() if key != "limit"}
        newest = (await ids_of(database, **whole))[::-1][: query.get("limit")]
        assert await ids_of(database, **query, order="desc") == newest, query


@pytest_twisted.ensureDeferred
async def test_a_page_is_never_longer_than_its_limit_and_pages_join(database):
    await claimed(database, "acme")
    await append(database, *(sms(body=str(n)) for n in range(1001)))
    assert await ids_of(database, limit=1000) == list(range(1, 1001))
    assert await ids_of(database, limit=1000, since_id=1000) == [1001]
    assert await ids_of(database) == list(range(1, 101))
    assert await ids_of(database, order="desc", limit=1000) == list(range(1001, 1, -1))
    assert await ids_of(database, order="desc", limit=5, before_id=4) == [3, 2, 1]


@pytest_twisted.ensureDeferred
async def test_an_end_that_is_written_down_twice_counts_once(database):
    """The answer to the first was lost; then what waits again is told again."""
    await claimed(database, "acme")
    await append(database, pushed(), pushed(attempts=3), pushed())
    pushes = [
        Pushed("acme", 1, SESSION, "?", None, None),
        Pushed("acme", 2, SESSION, "?", None, None),
        Pushed("acme", 3, SESSION, "?", 1000, 2000),
    ]
    first = await messages.end_pushes(database, pushes)
    assert sorted(first) == [
        ("acme", 1, "queued", "*"),
        ("acme", 2, "sending", "*"),
        ("acme", 3, "sending", "*"),
    ]
    assert await messages.end_pushes(database, pushes) == [("acme", 1, "queued", "*")]
    columns = "status, attempts, receipted"
    assert await stored(database, columns) == [
        ("queued", 0, 0),
        ("sending", 2, 0),
        ("sending", 1, 1),
    ]
