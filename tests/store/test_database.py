"""The pool: bounded waits, shielded transactions, and connections that come back by themselves."""

import os
import signal

import psycopg2
import pytest
import pytest_twisted
from clusters import new_home, removed, running
from databases import chance, opened
from seed import ask, sql
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import formatEvent, globalLogPublisher

from smsd.domain.errors import Unavailable
from smsd.store import database as pool_module
from smsd.store.condition import Condition
from smsd.store.database import Database
from smsd.store.statements import Statement, named
from smsd.store.trouble import Contended, DataRefused

SLEEP, ONE = sql("SELECT pg_sleep(60)"), sql("SELECT 1")
THINGS = "CREATE TABLE things (a int PRIMARY KEY)"


@pytest_twisted.async_yield_fixture
async def hasty(conninfo):
    """A pool of one connection that waits for a fifth of a second."""
    pool = Database(reactor, conninfo, size=1, chance=chance, deadline=0.2)
    await pool.open()
    yield pool
    await pool.close()


def start(awaitable):
    return Deferred.fromCoroutine(awaitable)


async def eventually(database, attempts=100):
    """Ask until the pool works again; what it says meanwhile is `Unavailable` and nothing else."""
    for _ in range(attempts):
        try:
            return await database.run(ONE)
        except Unavailable:
            pass
    raise AssertionError("the pool did not come back")


# -- transactions ----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_transaction_commits_what_it_did_and_returns_what_it_made(database):
    async def body(tx):
        await ask(tx, THINGS)
        await ask(tx, "INSERT INTO things VALUES (%(a)s)", a=7)
        return "made"

    assert await database.transaction("make", body) == "made"
    assert await ask(database, "SELECT * FROM things") == [(7,)]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest_twisted.ensureDeferred
async def test_an_exception_rolls_everything_back_and_is_raised(database, error):
    async def body(tx):
        await ask(tx, THINGS)
        raise error

    with pytest.raises(error):
        await database.transaction("break", body)
    assert await ask(database, "SELECT to_regclass('things')") == [(None,)]


@pytest_twisted.ensureDeferred
async def test_a_refused_statement_rolls_everything_back(database):
    await ask(database, THINGS)

    async def body(tx):
        await ask(tx, "INSERT INTO things VALUES (1)")
        await ask(tx, "INSERT INTO things VALUES (1)")

    with pytest.raises(DataRefused) as caught:
        await database.transaction("twice", body)
    assert caught.value.constraint == "things_pkey"
    assert await ask(database, "SELECT * FROM things") == []


@pytest_twisted.ensureDeferred
async def test_a_body_that_swallows_a_refusal_is_not_told_that_it_was_committed(database):
    """Postgres answers the COMMIT of a failed transaction with a rollback and no error."""
    await ask(database, THINGS)

    async def body(tx):
        await ask(tx, "INSERT INTO things VALUES (1)")
        with pytest.raises(DataRefused):
            await ask(tx, "INSERT INTO things VALUES (1)")
        return "fine"

    with pytest.raises(DataRefused):
        await database.transaction("swallow", body)
    assert await ask(database, "SELECT * FROM things") == []


@pytest_twisted.ensureDeferred
async def test_a_rule_that_is_checked_at_the_commit_refuses_it(database):
    await ask(database, "CREATE TABLE late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    async def body(tx):
        await ask(tx, "INSERT INTO late VALUES (1), (1)")

    with pytest.raises(DataRefused) as caught:
        await database.transaction("late", body)
    assert caught.value.constraint == "late_a_key"
    assert await ask(database, "SELECT * FROM late") == []


@pytest_twisted.ensureDeferred
async def test_who_no_longer_waits_does_not_break_the_transaction(database):
    """A client that hangs up cancels what serves it (Klein does); the commit goes on."""
    await ask(database, THINGS)
    gate, inside, done = Deferred(), Deferred(), Deferred()

    async def body(tx):
        await ask(tx, "INSERT INTO things VALUES (1)")
        inside.callback(None)
        await gate
        await ask(tx, "INSERT INTO things VALUES (2)")
        done.callback(None)

    waiting = start(database.transaction("slow", body))
    await inside
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    gate.callback(None)
    await done
    both = [(1,), (2,)]
    while await ask(database, "SELECT * FROM things ORDER BY a") != both:
        pass


@pytest_twisted.ensureDeferred
async def test_who_no_longer_waits_for_a_statement_leaves_a_connection_that_works(database):
    waiting = [start(database.run(sql("SELECT pg_sleep(0.05)"))) for _ in range(6)]
    for each in waiting:
        each.cancel()
        with pytest.raises(CancelledError):
            await each
    assert await database.run(ONE) == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_held_lock_is_contention_and_not_absence(database, conninfo):
    await ask(database, THINGS)
    other = await opened(conninfo, 1)

    async def body(tx):
        await ask(tx, "LOCK things")
        with pytest.raises(Contended) as caught:
            await ask(other, "SELECT FROM things")
        return caught.value.retry_after

    assert await database.transaction("hold", body) == 1
    assert await ask(other, "SELECT FROM things") == []
    await other.close()


# -- waiting ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_who_waits_longer_than_the_deadline_hears_unavailable_and_the_pool_goes_on(hasty):
    with pytest.raises(Unavailable, match="in time") as caught:
        await hasty.run(SLEEP)
    assert caught.value.retry_after
    # Long before Postgres itself would give the statement up (5 s).
    assert await eventually(hasty, 10) == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_transaction_past_its_deadline_is_rolled_back(hasty, database):
    await ask(database, THINGS)

    async def body(tx):
        await ask(tx, "SET LOCAL statement_timeout = '500ms'")
        await ask(tx, "INSERT INTO things VALUES (1)")
        await tx.run(SLEEP)

    with pytest.raises(Unavailable, match="in time"):
        await hasty.transaction("slow", body)
    # This waits until Postgres, which does not hear that its client has gone, gives the row up.
    await ask(database, "INSERT INTO things VALUES (1)")


@pytest_twisted.ensureDeferred
async def test_a_transaction_may_have_a_deadline_of_its_own(hasty):
    async def body(tx):
        return await ask(tx, "SELECT 1 FROM pg_sleep(0.5)")

    assert await hasty.transaction("patient", body, deadline=20) == [(1,)]


@pytest_twisted.ensureDeferred
async def test_those_behind_wait_no_longer_than_the_deadline_either(hasty):
    calls = [start(hasty.run(SLEEP)) for _ in range(10)]
    for call in calls:
        with pytest.raises(Unavailable):
            await call


@pytest_twisted.ensureDeferred
async def test_the_queue_is_bounded_and_past_it_one_hears_so_at_once(conninfo):
    pool, gate = await opened(conninfo, 1), Deferred()

    async def hold(tx):
        await gate

    held = start(pool.transaction("hold", hold))
    waiting = [start(pool.run(ONE)) for _ in range(pool_module.QUEUE)]
    refused = start(pool.run(ONE))
    assert refused.called
    assert not any(call.called for call in waiting)
    with pytest.raises(Unavailable):
        await refused
    gate.callback(None)
    assert await gatherResults(waiting) == [[(1,)]] * len(waiting)
    await held
    await pool.close()


@pytest_twisted.ensureDeferred
async def test_calls_that_wait_are_served_in_their_order(conninfo):
    pool = await opened(conninfo, 1)
    served = []

    async def call(number):
        await pool.run(ONE)
        served.append(number)

    await gatherResults([start(call(number)) for number in range(50)])
    assert served == list(range(50))
    await pool.close()


# -- losing the database ---------------------------------------------------------------------

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %(name)s"


@pytest_twisted.ensureDeferred
async def test_the_connection_that_was_used_last_is_used_next(conninfo):
    pool = await opened(conninfo, 2)

    async def backend(seconds=0.0):
        told = "SELECT pg_backend_pid() FROM pg_sleep(%(seconds)s)"
        ((pid,),) = await ask(pool, told, seconds=seconds)
        return pid

    for _ in range(100):  # until both are there
        together = [start(backend(0.05)) for _ in range(2)]
        if len({await one for one in together}) == 2:
            break
    else:
        raise AssertionError("the pool has only one connection")
    assert len({await backend() for _ in range(6)}) == 1
    await pool.close()


@pytest_twisted.async_yield_fixture
async def killer(postgres, database):
    """Ends every connection to the test's database, from another one."""
    ((name,),) = await ask(database, "SELECT current_database()")
    admin = await opened(postgres, 1)

    async def kill():
        return len(await ask(admin, KILL, name=name))

    yield kill
    await admin.close()


@pytest_twisted.ensureDeferred
async def test_calls_on_connections_that_are_killed_are_unavailable_and_then_all_works(
    database, killer
):
    inside = [Deferred(), Deferred()]

    async def body(tx, begun):
        await tx.run(ONE)
        begun.callback(None)
        await tx.run(SLEEP)

    calls = [start(database.transaction("sleep", lambda tx, d=d: body(tx, d))) for d in inside]
    await gatherResults(inside)
    assert await killer() >= 2
    for call in calls:
        with pytest.raises(Unavailable):
            await call
    assert await eventually(database) == [(1,)]
    assert await gatherResults([start(database.run(ONE)) for _ in range(20)]) == [[(1,)]] * 20


@pytest_twisted.ensureDeferred
async def test_a_transaction_whose_connection_is_killed_between_two_statements_is_unavailable(
    database, killer
):
    async def body(tx):
        await tx.run(ONE)
        await killer()
        await eventually(database)  # on a new connection: by now the loss of this one is known
        with pytest.raises(Unavailable):
            await tx.run(ONE)

    await pids(database)
    with pytest.raises(Unavailable):
        await database.transaction("killed", body)
    assert await eventually(database) == [(1,)]


@pytest_twisted.ensureDeferred
async def test_idle_connections_that_are_killed_are_replaced_without_a_word(database, killer):
    before = await pids(database)
    assert await killer() >= 2
    assert await eventually(database) == [(1,)]
    assert not before & await pids(database)


async def pids(database):
    """The backends of a pool of two."""

    async def body(tx):
        ((one,),) = await ask(tx, "SELECT pg_backend_pid()")
        ((other,),) = await ask(database, "SELECT pg_backend_pid()")
        return {one, other}

    return await database.transaction("pids", body)


# -- rehearsals ------------------------------------------------------------------------------

FIND = Statement("find", "SELECT b FROM things WHERE a = %(a)s", prepared=True)
PREPARED = "SELECT pg_backend_pid(), name, generic_plans FROM pg_prepared_statements"


async def known(pool):
    """What each connection of a pool of two has prepared, and how often it had it planned."""

    async def body(tx):
        return {*await ask(tx, PREPARED), *await ask(pool, PREPARED)}

    return await pool.transaction("known", body)


@pytest_twisted.ensureDeferred
async def test_what_is_rehearsed_is_prepared_on_every_connection_and_on_those_that_come_later(
    database, killer
):
    await ask(database, "CREATE TABLE things (a int PRIMARY KEY, b int)")
    assert await known(database) == set()
    database.rehearse([FIND])
    before = await pids(database)
    assert await known(database) == {(pid, "find", 1) for pid in before}
    await killer()
    assert await eventually(database) == [(1,)]
    after = await pids(database)
    assert not before & after
    assert await known(database) == {(pid, "find", 1) for pid in after}


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_rehearsed_harms_nobody_but_who_asks_for_it(database):
    database.rehearse([FIND])
    assert await gatherResults([start(database.run(ONE)) for _ in range(4)]) == [[(1,)]] * 4
    with pytest.raises(psycopg2.ProgrammingError, match="things"):
        await database.run(FIND, a=1)
    await ask(database, "CREATE TABLE things (a int PRIMARY KEY, b int)")
    assert await database.run(FIND, a=1) == []


@pytest_twisted.ensureDeferred
async def test_a_pool_that_closes_in_a_rehearsal_is_closed(postgres, conninfo):
    pool, admin = await opened(conninfo), await opened(postgres, 1)
    pool.rehearse([FIND])
    await pool.close()
    left = "SELECT FROM pg_stat_activity WHERE datname = %(name)s"
    name = conninfo.rpartition("dbname=")[2].split()[0]
    while await ask(admin, left, name=name):
        pass
    await admin.close()


@pytest_twisted.ensureDeferred
async def test_a_closed_pool_refuses_cuts_what_is_under_way_and_leaves_no_connection(
    postgres, conninfo
):
    pool, admin = await opened(conninfo), await opened(postgres, 1)
    calls = [start(pool.run(SLEEP)) for _ in range(4)]
    await pool.close()
    for call in [*calls, start(pool.run(ONE))]:
        with pytest.raises(Unavailable):
            await call
    name = conninfo.rpartition("dbname=")[2]
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %(n)s AND state <> 'active'"
    while await ask(admin, count, n=name) != [(0,)]:
        pass
    await admin.close()


@pytest_twisted.ensureDeferred
async def test_a_pool_that_cannot_connect_at_all_does_not_open(scratch):
    pool = Database(reactor, f"host={scratch}/nowhere dbname=x", size=2, chance=chance)
    with pytest.raises(Unavailable, match="nowhere"):
        await pool.open()
    await pool.close()


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest.fixture
def told():
    """What is logged of the database's condition."""
    formats = []

    def observe(event):
        if event.get("log_namespace") == Condition.__module__ + ".Condition":
            formats.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield formats
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.ensureDeferred
async def test_a_postgres_that_stands_still_blocks_nobody_and_is_back_when_it_goes_on(home, told):
    async with running(home) as (_, conninfo):
        pool = Database(reactor, conninfo, size=2, chance=chance, deadline=0.3)
        await pool.open()
        await pids(pool)
        rows = await ask(pool, "SELECT pid FROM pg_stat_activity WHERE pid IS NOT NULL")
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        stopped = {postmaster, *(pid for (pid,) in rows)}
        ticks = LoopingCall(lambda: None)
        counted = []
        ticks.f = lambda: counted.append(1)
        ticks.start(0.01)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                before = len(counted)
                calls = [start(pool.run(ONE)) for _ in range(5)]
                for call in calls:
                    with pytest.raises(Unavailable):
                        await call
                assert len(counted) - before >= 3, "the reactor was blocked"
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert await eventually(pool) == [(1,)]
        ticks.stop()
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_a_postgres_that_goes_and_comes_back_is_told_of_once(home, told):
    async with running(home) as (server, conninfo):
        pool = Database(reactor, conninfo, size=2, chance=lambda: 0.0, deadline=1)
        await pool.open()
        await server.stop()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await pool.run(ONE)
        await server.start()
        assert await eventually(pool) == [(1,)]
        assert [line.split(";")[0] for line in told] == [
            "the database is away",
            "the database is back",
        ]
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_the_version_of_the_database_can_be_asked(database):
    ((version,),) = await database.run(named("version"))
    assert version[0].isdigit()


@pytest_twisted.ensureDeferred
async def test_the_pool_tells_who_works_who_waits_and_how_long_they_waited(hasty):
    slow = start(hasty.run(SLEEP))
    second = start(hasty.run(ONE))
    assert (hasty.busy, hasty.idle, hasty.waiting) == (1, 0, 1)
    for late in (slow, second):
        with pytest.raises(Unavailable):
            await late
    assert (hasty.expired, hasty.waiting, hasty.waits.at_most[-1]) == (2, 0, 2)
    assert hasty.waits.at_most[0] == 1  # the one that found a connection free
