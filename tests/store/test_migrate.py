"""A database is brought to this release once, by one, wholly or not at all."""

import psycopg2
import pytest
import pytest_twisted
from databases import conninfo_of, opened
from seed import ask
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from smsd.domain.settings import Settings
from smsd.opening import check_database
from smsd.store.migrate import Migration, WrongSchema, migrate, migrations, told

ONE = Migration(1, "one", "CREATE TABLE things (a int); INSERT INTO things VALUES (1)")
TWO = Migration(2, "two", "ALTER TABLE things ADD b text DEFAULT '100%'")
SLOW = Migration(1, "slow", "SELECT pg_sleep(1.5); " + ONE.sql)


@pytest_twisted.async_yield_fixture
async def empty(postgres):
    """How to connect to a database in which nothing is."""
    admin = await opened(postgres, 1)
    await ask(admin, "CREATE DATABASE empty")
    yield conninfo_of(postgres, "empty")
    await ask(admin, "DROP DATABASE empty WITH (FORCE)")
    await admin.close()


@pytest_twisted.async_yield_fixture
async def bare(empty):
    """A pool on a database in which nothing is."""
    pool = await opened(empty)
    yield pool
    await pool.close()


async def tables(database):
    rows = await ask(
        database, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200"
    )
    return {name for (name,) in rows}


def test_the_migrations_of_this_release_are_numbered_without_a_gap():
    found = migrations()
    assert [m.version for m in found] == list(range(1, len(found) + 1))
    assert all(m.sql.strip() and m.name for m in found)


@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_applied_in_order_and_then_nothing_is(bare):
    assert await migrate(bare, [ONE]) == [1]
    assert await migrate(bare, [ONE, TWO]) == [2]
    assert await migrate(bare, [ONE, TWO]) == []
    assert await ask(bare, "SELECT * FROM things") == [(1, "100%")]
    rows = await ask(bare, "SELECT version, name, sha256 FROM schema_migrations ORDER BY 1")
    assert rows == [(1, "one", ONE.sha256), (2, "two", TWO.sha256)]


@pytest_twisted.ensureDeferred
async def test_the_release_itself_is_applied_once(bare):
    assert await migrate(bare) == [m.version for m in migrations()]
    before = await tables(bare)
    assert await migrate(bare) == []
    assert await tables(bare) == before


@pytest_twisted.ensureDeferred
async def test_twenty_daemons_that_start_at_once_apply_each_migration_once(empty):
    pools = [await opened(empty, 1) for _ in range(20)]
    applied = await gatherResults([Deferred.fromCoroutine(migrate(p, [ONE, TWO])) for p in pools])
    assert sorted(version for each in applied for version in each) == [1, 2]
    for pool in pools:
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_a_daemon_waits_for_one_that_migrates_for_longer_than_it_waits_for_a_lock(empty):
    pools = [await opened(empty, 1) for _ in range(2)]
    applied = await gatherResults([Deferred.fromCoroutine(migrate(p, [SLOW])) for p in pools])
    assert sorted(applied) == [[], [1]]
    for pool in pools:
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_a_migration_that_fails_leaves_nothing_and_can_be_tried_again(bare):
    broken = Migration(2, "two", "CREATE TABLE half (); SELECT 1/0")
    with pytest.raises(Exception, match="22012"):
        await migrate(bare, [ONE, broken])
    assert await tables(bare) == {"schema_migrations", "things"}
    assert await migrate(bare, [ONE, TWO]) == [2]


@pytest_twisted.ensureDeferred
async def test_a_migration_with_a_slip_in_it_is_our_bug_and_shown_as_it_is(bare):
    with pytest.raises(psycopg2.ProgrammingError):
        await migrate(bare, [Migration(1, "slip", "CREATE TABEL things ()")])
    assert await tables(bare) == set()


REFUSED = [
    ([ONE, TWO], [ONE], "at version 2, this smsd knows versions up to 1"),
    ([ONE, TWO], [], "at version 2, this smsd knows versions up to 0"),
    ([ONE], [Migration(1, "one", ONE.sql + " "), TWO], "migration 1 was applied in a form"),
    ([ONE, TWO], [ONE, Migration(3, "three", "")], "migration 2 was applied in a form"),
    ([ONE, Migration(3, "three", "SELECT 1")], [ONE, TWO], "at version 3, this smsd knows"),
    (
        [ONE, Migration(3, "three", "SELECT 1")],
        [ONE, TWO, Migration(3, "three", "SELECT 1")],
        "at version 3, but version 2 was never applied",
    ),
]


@pytest.mark.parametrize(("there", "known", "told"), REFUSED)
@pytest_twisted.ensureDeferred
async def test_a_database_that_this_release_did_not_make_is_refused_untouched(
    bare, there, known, told
):
    await migrate(bare, there)
    before = await tables(bare)
    with pytest.raises(WrongSchema, match=told):
        await migrate(bare, known)
    assert await tables(bare) == before


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (2, []),
        (0, ["It has no tables yet: start the gateway to make them."]),
        (1, ["at version 1", "version 2: start the gateway to migrate it"]),
        (3, ["at version 3", "versions up to 2: install the newer smsd again"]),
    ],
    ids=["the same", "none", "older", "newer"],
)
def test_who_checks_a_database_is_told_how_it_stands(version, words):
    said = " ".join(told(version, [ONE, TWO]))
    assert bool(said) == bool(words)
    assert all(each in said for each in words)


@pytest_twisted.ensureDeferred
async def test_smsd_check_tells_of_an_older_schema(database, conninfo, tmp_path):
    settings = Settings(database=conninfo, data_dir=tmp_path)
    assert "It is at version" not in await check_database(settings, reactor)
    newest = migrations()[-1].version
    await ask(database, f"DELETE FROM schema_migrations WHERE version = {newest}")
    words = f"It is at version {newest - 1}, this smsd works with version {newest}: start"
    assert words in await check_database(settings, reactor)
