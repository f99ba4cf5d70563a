"""After a lost answer one knows: what was stored is found, what was not never will be."""

import psycopg2
import pytest
import pytest_twisted
from databases import chance, opened
from relay import Delay, Loss, Relay, Silence
from seed import SESSION, append, ask, claimed, pushed, sms, sql, stored, ticket
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.store import batches, messages, resumption
from smsd.store.database import Database
from smsd.store.messages import Served
from smsd.store.resumption import Waited
from smsd.store.trouble import Contended, DataRefused, Unanswered, is_dead

APPEND = b"EXECUTE append_messages("
SLEEP = sql("SELECT pg_sleep(60)")


@pytest_twisted.async_yield_fixture
async def relay(conninfo):
    relay = Relay(conninfo)
    yield relay
    await relay.close()


@pytest_twisted.async_yield_fixture
async def distant(relay):
    """A pool at the other end of the road, on which all is planned already."""
    pool = await warm(Database(reactor, relay.conninfo, size=1, chance=chance, deadline=20))
    yield pool
    await pool.close()


@pytest_twisted.async_yield_fixture
async def hasty(relay):
    """The same, but it waits for a second only."""
    pool = await warm(Database(reactor, relay.conninfo, size=1, chance=chance, deadline=1))
    yield pool
    await pool.close()


async def warm(pool):
    await pool.open()
    await claimed(pool, "acme", "warm")
    await append(pool, sms("warm"))
    await claim(pool)  # takes nothing; what is prepared is sent without its words from now on
    return pool


async def known(look_up, *arguments, **more):
    """What a look-up says as soon as it can; a machine may be too busy for its deadline."""
    for _ in range(20):
        try:
            return await look_up(*arguments, **more)
        except Unavailable:
            pass
    raise AssertionError("nobody knows")


async def lost(awaitable):
    """The id of the batch whose answer was lost."""
    with pytest.raises(Unanswered) as caught:
        await awaitable
    assert caught.value.batch_id
    assert caught.value.retry_after
    return caught.value.batch_id


async def until_somebody_waits_for_a_lock(database):
    for _ in range(2000):
        ((waiting,),) = await ask(database, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        if waiting:
            return
    raise AssertionError("nobody waits for a lock")


# -- the fence -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_was_stored_is_found_with_its_ids(database, relay, distant):
    await append(database, sms(), sms())
    relay.lose(Loss(APPEND))
    orgs = ["warm", "nobody", "acme", "warm", "acme", "nobody", "acme"]
    rows = [sms(org_id, body=f"row {at}") for at, org_id in enumerate(orgs)]
    batch_id = await lost(append(distant, *rows))
    for _ in range(2):
        ids = await known(messages.appended, database, rows, batch_id)
        assert ids == {0: 2, 2: 3, 3: 3, 4: 4, 6: 5}
    found = await ask(database, "SELECT org_id, id, body FROM messages WHERE body LIKE 'row %%'")
    assert set(found) == {(orgs[at], id_, f"row {at}") for at, id_ in ids.items()}


@pytest_twisted.ensureDeferred
async def test_so_is_what_was_stored_and_not_answered_in_time(database, relay, hasty):
    relay.lose(Silence(APPEND))
    batch_id = await lost(append(hasty, *(rows := [sms(body="a")])))
    assert await known(messages.appended, database, rows, batch_id) == {0: 1}


@pytest_twisted.ensureDeferred
async def test_a_statement_that_comes_after_its_fence_stores_nothing(database, relay, distant):
    delay = relay.lose(Delay(APPEND))
    batch_id = await lost(append(distant, *(rows := [sms(), sms()])))
    for _ in range(2):
        assert await known(messages.appended, database, rows, batch_id) is None
    assert b"batches_pkey" in await delay.arrive()
    assert await stored(database) == []


@pytest_twisted.ensureDeferred
async def test_one_that_waits_for_a_lock_while_it_is_fenced_off_stores_nothing(database, conninfo):
    await claimed(database, "acme")
    pool = await opened(conninfo, 2)

    async def hold_the_counter(tx):
        await ask(tx, "SELECT FROM org_counters WHERE org_id = 'acme' FOR UPDATE")
        late = Deferred.fromCoroutine(pool.run(messages._APPEND, rows=ROWS, batch_id=SESSION))
        await until_somebody_waits_for_a_lock(database)
        assert await known(batches.look_up, pool, SESSION) is None
        return [late]

    (late,) = await database.transaction("hold", hold_the_counter)
    with pytest.raises(DataRefused) as caught:
        await late
    assert caught.value.constraint == "batches_pkey"
    assert await stored(database) == []
    assert await append(database, sms()) == [1]
    await pool.close()


ROWS = (
    '[{"ord": 0, "org_id": "acme", "status": "received", "direction": "in",'
    ' "address": "", "address_key": "", "body": ""}]'
)


@pytest.mark.parametrize("commits", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_end_of_one_that_still_runs_is_waited_for(database, conninfo, commits):
    await claimed(database, "acme")
    pool = await opened(conninfo, 2)

    async def slow(tx):
        await tx.run(messages._APPEND, rows=ROWS, batch_id=SESSION)
        found = Deferred.fromCoroutine(known(batches.look_up, pool, SESSION))
        await until_somebody_waits_for_a_lock(tx)
        assert not found.called
        told.append(found)
        if not commits:
            raise ZeroDivisionError

    told = []
    try:
        await database.transaction("slow", slow)
    except ZeroDivisionError:
        assert not commits
    assert await told[0] == ([[0, 1]] if commits else None)
    assert len(await stored(database)) == int(commits)
    await pool.close()


@pytest_twisted.ensureDeferred
async def test_one_that_runs_for_long_is_asked_for_again(database, conninfo):
    await claimed(database, "acme")
    pool = await opened(conninfo, 1)
    await ask(pool, "SET lock_timeout = '20s'")

    async def slow(tx):
        await tx.run(messages._APPEND, rows=ROWS, batch_id=SESSION)
        with pytest.raises(Contended):
            await batches.look_up(pool, SESSION)

    await database.transaction("slow", slow)
    assert await known(batches.look_up, pool, SESSION) == [[0, 1]]
    await pool.close()


@pytest_twisted.ensureDeferred
async def test_a_look_up_whose_own_answer_is_lost_may_be_repeated(database, relay, distant):
    relay.lose(Loss(b"COMMIT"))
    with pytest.raises(Unanswered):
        await batches.look_up(distant, SESSION)
    assert await known(batches.look_up, database, SESSION) is None


@pytest_twisted.ensureDeferred
async def test_a_batch_that_stores_nothing_leaves_no_trace(database):
    assert await messages.append(database, [sms("nobody")]) == {}
    assert await claim(database) == ([], [])
    assert await ask(database, "SELECT count(*) FROM batches") == [(0,)]


async def claim(database):
    return await messages.claim(
        database,
        "acme",
        serves=[Served("*")],
        session_id=SESSION,
        phone_id="?",
        ledger=False,
        places=9,
    )


@pytest_twisted.ensureDeferred
async def test_what_a_session_was_given_is_found_as_it_is_by_now(database, relay, distant):
    await append(database, *(ticket() for _ in range(4)))
    relay.lose(Loss(b"EXECUTE claim_tickets"))
    batch_id = await lost(claim(distant))
    await ask(database, "UPDATE messages SET status = 'failed', error = 'x' WHERE id = 2")
    await ask(database, "UPDATE messages SET session_id = gen_random_uuid() WHERE id = 3")
    mine = {"session_id": SESSION, "batch_id": batch_id}
    handed = await known(messages.handed, database, "acme", **mine)
    assert ([t.id for t in handed.tickets], handed.ended) == ([1, 4], [2])
    assert {t.attempt for t in handed.tickets} == {1}


@pytest_twisted.ensureDeferred
async def test_a_claim_that_comes_after_its_fence_takes_nothing(database, relay, distant):
    await append(database, ticket())
    delay = relay.lose(Delay(b"EXECUTE claim_tickets"))
    batch_id = await lost(claim(distant))
    mine = {"session_id": SESSION, "batch_id": batch_id}
    assert await known(messages.handed, database, "acme", **mine) is None
    assert b"batches_pkey" in await delay.arrive()
    assert await stored(database, "status, attempts") == [("queued", 0)]


@pytest_twisted.ensureDeferred
async def test_stored_batches_are_kept_for_an_hour_and_void_ones_for_a_day(database):
    for at, (ids, age) in enumerate(
        [("{1}", "59 min"), ("{1}", "61 min"), (None, "61 min"), (None, "25 hours")], 1
    ):
        await ask(
            database,
            "INSERT INTO batches VALUES (%(id)s, %(ids)s, clock_timestamp() - %(age)s::interval)",
            id=f"00000000-0000-4000-8000-00000000000{at}",
            ids=ids,
            age=age,
        )
    await batches.prune_everywhere(database)
    left = await ask(database, "SELECT right(batch_id::text, 1) FROM batches ORDER BY 1")
    assert left == [("1",), ("3",)]


# -- what is unanswered, and what is surely not stored ---------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_commit_whose_answer_is_lost_is_unanswered(database, relay, distant):
    relay.lose(Loss(b"COMMIT"))
    with pytest.raises(Unanswered):
        await distant.transaction("append", lambda tx: append(tx, sms()))
    assert len(await stored(database)) == 1


@pytest_twisted.ensureDeferred
async def test_a_transaction_that_is_lost_before_its_commit_has_surely_stored_nothing(
    database, relay, distant
):
    relay.lose(Loss(APPEND))
    with pytest.raises(Unavailable) as caught:
        await distant.transaction("append", lambda tx: append(tx, sms()))
    assert not isinstance(caught.value, Unanswered)
    assert await stored(database) == []


@pytest_twisted.ensureDeferred
async def test_past_the_deadline_it_is_told_whether_the_statement_had_been_sent(hasty):
    sent = Deferred.fromCoroutine(hasty.run(SLEEP))
    behind = Deferred.fromCoroutine(hasty.run(SLEEP))
    with pytest.raises(Unanswered, match="in time"):
        await sent
    with pytest.raises(Unavailable) as caught:
        await behind
    assert not isinstance(caught.value, Unanswered)


@pytest_twisted.ensureDeferred
async def test_what_was_given_up_while_it_waited_for_a_connection_is_never_done(conninfo):
    pool, gate, done = await opened(conninfo, 1), Deferred(), []

    async def hold(_):
        await gate

    async def body(_):
        done.append("late")

    holding = Deferred.fromCoroutine(pool.transaction("hold", hold))
    with pytest.raises(Unavailable) as caught:
        await pool.transaction("behind", body, deadline=0.1)
    assert not isinstance(caught.value, Unanswered)
    gate.callback(None)
    await holding
    await ask(pool, "SELECT 1")
    assert done == []
    await pool.close()


@pytest_twisted.ensureDeferred
async def test_a_backend_that_is_ended_under_a_statement_leaves_it_unanswered(database, conninfo):
    pool = await opened(conninfo, 1)
    with pytest.raises(Unanswered):
        await ask(pool, "SELECT pg_terminate_backend(pg_backend_pid())")
    await pool.close()


@pytest.mark.parametrize(
    ("setting", "statement"),
    [("statement_timeout = '1ms'", SLEEP), ("transaction_read_only = on", sql("CREATE TABLE a()"))],
)
@pytest_twisted.ensureDeferred
async def test_what_postgres_gives_up_itself_is_surely_not_stored(conninfo, setting, statement):
    pool = await opened(conninfo, 1)
    await ask(pool, f"SET {setting.replace('transaction', 'default_transaction')}")
    with pytest.raises(Unavailable) as caught:
        await pool.run(statement)
    assert not isinstance(caught.value, Unanswered)
    await pool.close()


@pytest.mark.parametrize(("severity", "dead"), [("ERROR", False), ("FATAL", True), ("PANIC", True)])
def test_an_error_is_the_end_of_the_connection_where_postgres_calls_it_fatal(severity, dead):
    diag = type("Diag", (), {"severity_nonlocalized": severity})()
    error = type("Told", (psycopg2.OperationalError,), {"pgcode": "53100", "diag": diag})()
    assert is_dead(error) is dead


@pytest_twisted.ensureDeferred
async def test_a_note_of_waiting_that_comes_late_takes_nothing_back(database):
    await claimed(database, "acme")
    await append(database, pushed())
    for waited in (700, 500):
        await resumption.note_waits(database, [Waited("acme", 1, SESSION, waited)])
    assert await stored(database, "waited_ms") == [(700,)]
