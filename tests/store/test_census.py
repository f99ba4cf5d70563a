"""The census: exact while that is cheap, on a connection of its own, bounded whatever happens."""

import os
import signal

import pytest
import pytest_twisted
from clusters import new_home, removed, running
from databases import opened
from seed import append, ask, claimed, pushed, ticket
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from smsd.store import census as census_module
from smsd.store.census import Census
from smsd.store.migrate import migrate

LATER = (
    "UPDATE messages SET created_at = created_at - make_interval(secs => %(s)s) WHERE id = %(i)s"
)
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"


class Time:
    """The real reactor with a clock that the test may set forward."""

    def __init__(self):
        self.ahead = 0.0

    def seconds(self):
        return reactor.seconds() + self.ahead

    def __getattr__(self, name):
        return getattr(reactor, name)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest_twisted.async_yield_fixture
async def census(conninfo, time):
    census = Census(time, conninfo)
    yield census
    census.close()


async def asked(census, time):
    time.ahead += census_module.GOOD_FOR
    await census.refresh()
    return census.counted


@pytest_twisted.ensureDeferred
async def test_tickets_are_counted_by_state_and_the_oldest_that_waits_is_found(
    database, census, time
):
    counted = await asked(census, time)
    assert (counted.queued, counted.sending, counted.oldest) == (0, 0, None)
    assert counted.size > 1_000_000
    await claimed(database, "acme", "beta")
    await append(database, ticket(), ticket(sim="1"), ticket(sim="1"), pushed())
    await append(database, ticket("beta", sim="+1555"))
    await ask(database, LATER, s=90, i=2)
    counted = await asked(census, time)
    assert (counted.queued, counted.sending) == (4, 1)
    assert 90 <= counted.oldest < 150


@pytest_twisted.ensureDeferred
async def test_no_more_is_counted_than_is_cheap(database, census, time, monkeypatch):
    monkeypatch.setattr(census_module, "MOST", 2)
    await claimed(database, "acme")
    await append(database, *(ticket() for _ in range(3)), *(pushed() for _ in range(3)))
    counted = await asked(census, time)
    assert (counted.queued, counted.sending) == (2, 2)


@pytest_twisted.ensureDeferred
async def test_tickets_in_queues_that_are_held_back_are_counted(
    database, conninfo, time, monkeypatch
):
    queues = {("acme", "slot:1"), ("beta", "*"), ("gamma", "*")}
    census = Census(time, conninfo, lambda: queues)
    await claimed(database, "acme", "beta")
    await append(database, ticket(), ticket(sim="1"), ticket(sim="1"), pushed())
    await append(database, ticket("beta"), ticket("beta", sim="1"))
    try:
        counted = await asked(census, time)
        assert (counted.queued, counted.paced) == (5, 3)
        monkeypatch.setattr(census_module, "MOST", 2)
        assert (await asked(census, time)).paced == 2
        queues.clear()
        assert (await asked(census, time)).paced == 0
    finally:
        census.close()


@pytest_twisted.ensureDeferred
async def test_an_answer_is_good_for_a_while_and_for_all_who_ask_meanwhile(database, census, time):
    await gatherResults([Deferred.fromCoroutine(census.refresh()) for _ in range(3)])
    first = census.counted
    await census.refresh()
    assert census.counted is first
    time.ahead += census_module.GOOD_FOR
    await census.refresh()
    assert census.counted is not first
    assert await ask(database, CONNECTIONS) == [(3,)]  # the pool's two and one of its own


@pytest_twisted.ensureDeferred
async def test_when_it_is_closed_its_connection_is_gone_and_it_asks_no_more(database, census, time):
    await asked(census, time)
    census.close()
    await asked(census, time)
    for _ in range(100):
        if await ask(database, CONNECTIONS) == [(2,)]:
            return
    raise AssertionError("a connection was left behind")


@pytest_twisted.ensureDeferred
async def test_a_database_that_does_not_count_is_up_all_the_same(
    database, census, time, logged_failures
):
    await ask(database, "ALTER TABLE messages RENAME TO elsewhere")
    assert await asked(census, time) is None
    assert census.up
    assert len(logged_failures) == 1
    logged_failures.clear()
    await ask(database, "ALTER TABLE elsewhere RENAME TO messages")
    assert (await asked(census, time)).queued == 0


@pytest_twisted.ensureDeferred
async def test_a_postgres_that_stands_still_goes_or_comes_back_is_told_in_time(
    home, time, monkeypatch
):
    monkeypatch.setattr(census_module, "WITHIN", 0.3)
    async with running(home) as (server, conninfo):
        pool = await opened(conninfo, 1)
        await migrate(pool)
        await pool.close()
        census = Census(time, conninfo)
        await asked(census, time)
        assert census.up
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        stopped = [postmaster, *children(postmaster)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):  # on the old connection, and twice while a new one is made
                assert await asked(census, time) is None
                assert not census.up
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        await asked(census, time)
        assert census.up
        await server.stop()
        assert (await asked(census, time), census.up) == (None, False)
        await server.start()
        await asked(census, time)
        assert census.up
        census.close()


def children(parent):
    with open(f"/proc/{parent}/task/{parent}/children") as listed:
        return [int(pid) for pid in listed.read().split()]
