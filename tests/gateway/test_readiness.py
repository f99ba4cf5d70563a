"""Whether requests can be served, asked of the database once for all who want to know."""

import pytest
import pytest_twisted
from nodes import Watched, soon, sql
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smsd.domain.errors import Unavailable
from smsd.gateway.readiness import GOOD_FOR, OK, Readiness, wrong_with
from smsd.store import batch
from smsd.store.batch import Batch
from smsd.store.database import Database

WELL = {"listeners": OK, "database": OK, "schema": OK, "room": OK}


class Serving:
    said = OK

    def __call__(self):
        return self.said


@pytest.fixture
def serving():
    return Serving()


@pytest.fixture
def watched(database):
    return Watched(database)


@pytest.fixture
def readiness(watched, clock, serving):
    return Readiness(watched, [], clock=clock.seconds, serving=serving)


def started(*coroutines):
    return [Deferred.fromCoroutine(each) for each in coroutines]


@pytest_twisted.ensureDeferred
async def test_all_is_well(readiness):
    assert await readiness.parts() == WELL
    assert await readiness.missing() == []


@pytest_twisted.ensureDeferred
async def test_many_who_ask_at_once_ask_the_database_once_and_again_after_a_second(
    readiness, watched, clock
):
    with watched.held("schema_version") as asked:
        answers = started(*(readiness.parts() for _ in range(5)))
        await soon(asked.reached)
    assert [await answer for answer in answers] == [WELL] * 5
    await readiness.parts()
    assert watched.run_names["schema_version"] == 1
    clock.advance(GOOD_FOR)
    await readiness.parts()
    assert watched.run_names["schema_version"] == 2


@pytest_twisted.ensureDeferred
async def test_what_is_not_the_databases_part_is_never_out_of_date(readiness, serving):
    await readiness.parts()
    serving.said = "the gateway is shutting down"
    assert await readiness.parts() == {**WELL, "listeners": serving.said}


@pytest_twisted.ensureDeferred
async def test_a_database_of_before_the_last_migration_is_not_ready(readiness, database, clock):
    await sql(database, "DELETE FROM schema_migrations WHERE version > 1")
    (wrong,) = await readiness.missing()
    assert wrong.startswith("the database is at version 1, not ")


@pytest_twisted.ensureDeferred
async def test_a_silent_database_is_told_of_within_the_pools_deadline(clock, conninfo):
    pool = Database(reactor, conninfo, size=1, chance=lambda: 0.5, deadline=0.2)
    readiness = Readiness(pool, [], clock=clock.seconds, serving=lambda: OK)
    await pool.open()
    hold = pool.transaction("hold", lambda tx: sql(tx, "SELECT pg_sleep(9)"), deadline=5)
    (slow,) = started(hold)
    assert await readiness.missing() == ["the database does not answer"]
    await pool.close()
    with pytest.raises(Unavailable):
        await slow


@pytest_twisted.ensureDeferred
async def test_a_lane_that_is_full_leaves_no_room(database, clock, monkeypatch):
    monkeypatch.setattr(batch, "MOST_ROWS", 1)
    flight = Deferred()

    async def write(entries):
        await flight
        return entries

    lane = Batch("test", write)
    readiness = Readiness(database, [lane], clock=clock.seconds, serving=lambda: OK)
    stored = [lane.put(entry, org_id="acme") for entry in "ab"]
    assert await readiness.missing() == ["more waits to be stored than may"]
    flight.callback(None)
    assert [await one for one in stored] == ["a", "b"]
    assert await readiness.missing() == []


def test_of_a_part_that_nobody_knows_of_nothing_is_said():
    away = {**WELL, "database": "it does not answer", "schema": "not known"}
    assert wrong_with(away) == ["it does not answer"]
