"""A database becomes a file, and the file a database: what is kept, what moves on, what is
refused, and that whatever dies half way leaves nothing behind."""

from __future__ import annotations

import os
from itertools import count

import psycopg2
import pytest
import pytest_twisted
from databases import conninfo_of, opened
from seed import ask, claimed
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from smsd.store import dumps
from smsd.store.clients import access, newest
from smsd.store.dumps import Server
from smsd.store.migrate import migrate, migrations
from smsd.store.statements import Statement
from smsd.store.unusable import PostgresUnusable

pytestmark = pytest.mark.usefixtures("postgres")

_numbers = count(1)

TICKETS = """
INSERT INTO messages (org_id, id, direction, address, address_key, body, sim_key, ref, status,
    attempts, session_id, handed_at, sent_at, error)
VALUES
    ('acme', 1, 'out', '+1', '1', 'waits', '*', 'a', 'queued', 0, NULL, NULL, NULL, NULL),
    ('acme', 2, 'out', '+1', '1', 'goes', '*', 'b', 'sending', 2, gen_random_uuid(), now(),
        NULL, NULL),
    ('acme', 3, 'out', '+1', '1', 'went', '*', 'c', 'sent', 1, NULL, NULL, now(), NULL),
    ('acme', 4, 'out', '+1', '1', 'is lost', '*', 'd', 'failed', 0, NULL, NULL, NULL, 'x')
"""
ON_LINE = """
INSERT INTO nodes VALUES ('node', now());
INSERT INTO sessions (org_id, session_id, phone_id, node_id)
    VALUES ('acme', gen_random_uuid(), '?', 'node');
INSERT INTO batches (batch_id) VALUES (gen_random_uuid());
"""


def server(conninfo):
    return Server(reactor, newest(), access(conninfo))


async def lived_in(database):
    """Two orgs, one of them deleted, tickets in every state, and somebody on line."""
    await claimed(database, "acme", "gone")
    await ask(database, TICKETS)
    await ask(database, ON_LINE)
    await ask(database, "UPDATE org_counters SET last_id = 4")
    await ask(database, "DELETE FROM orgs WHERE org_id = 'gone'")


@pytest.fixture
def file(tmp_path):
    with open(tmp_path / "dump", "w+b") as file:
        yield file.fileno()


@pytest.fixture
def second(tmp_path):
    with open(tmp_path / "second", "w+b") as file:
        yield file.fileno()


@pytest_twisted.async_yield_fixture
async def empty(postgres):
    """Another database, without a table; how to connect to it."""
    name = f"restored_{next(_numbers)}"
    admin = await opened(postgres, 1)
    await admin.run(Statement("create", f"CREATE DATABASE {name}"))
    yield conninfo_of(postgres, name)
    await admin.run(Statement("drop", f"DROP DATABASE {name} WITH (FORCE)"))
    await admin.close()


async def tables(database):
    return await ask(database, "SELECT relname FROM pg_class WHERE relname = 'orgs'")


async def rows(database, text):
    return await ask(database, text)


async def restored(conninfo, file, *, made=False, fail_pending=True):
    """A pool on what became of it."""
    await dumps.restore(server(conninfo), file, made=made, fail_pending=fail_pending)
    return await opened(conninfo, 1)


COUNTERS = "SELECT org_id, last_id FROM org_counters ORDER BY org_id"
STATES = "SELECT id, status, attempts, error FROM messages ORDER BY id"


def has(found):
    async def look():
        return found

    return look


PSQL = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'psql'
"""


async def until(look):
    """Look until there is something; far longer than it takes."""
    end = reactor.seconds() + 60
    while not await look():
        assert reactor.seconds() < end
        await deferLater(reactor, 0.05)


@pytest_twisted.ensureDeferred
async def test_all_rows_come_back_and_nobody_is_on_line(database, conninfo, empty, file):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    again = await restored(empty, file, fail_pending=False)
    for everything in (
        "SELECT * FROM orgs ORDER BY org_id",
        "SELECT * FROM messages ORDER BY org_id, id",
        "SELECT * FROM schema_migrations",
    ):
        assert await rows(again, everything) == await rows(database, everything) != []
    for table in ("nodes", "sessions", "batches"):
        assert await rows(again, f"SELECT 1 FROM {table}") == []
    assert await migrate(again) == []
    await again.close()


@pytest_twisted.ensureDeferred
async def test_ids_go_on_a_million_later_for_every_org_that_is_was_or_will_be(
    database, conninfo, empty, file
):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    again = await restored(empty, file)
    assert await rows(again, COUNTERS) == [("acme", 1_000_004), ("gone", 1_000_004)]
    await claimed(again, "newcomer")
    assert ("newcomer", 1_000_000) in await rows(again, COUNTERS)
    await again.close()


@pytest_twisted.ensureDeferred
async def test_ids_of_a_second_restore_go_on_after_those_of_the_first(
    database, conninfo, empty, file, second
):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    again = await restored(empty, file)
    await ask(again, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await again.close()
    await ask(database, "ALTER TABLE org_counters ALTER COLUMN last_id SET DEFAULT 1000000")
    await dumps.dump(server(conninfo), second)
    again = await restored(empty, second)
    await claimed(again, "newcomer")
    assert ("newcomer", 2_000_000) in await rows(again, COUNTERS)
    await again.close()


@pytest.mark.parametrize(
    ("fail", "became"),
    [
        (True, [(1, "failed", 1, "unconfirmed"), (2, "failed", 2, "unconfirmed")]),
        (False, [(1, "queued", 0, None), (2, "sending", 2, None)]),
    ],
    ids=["fail", "keep"],
)
@pytest_twisted.ensureDeferred
async def test_what_had_not_ended_ends_unless_it_is_to_be_kept(
    database, conninfo, empty, file, fail, became
):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    again = await restored(empty, file, fail_pending=fail)
    assert await rows(again, STATES) == [*became, (3, "sent", 1, None), (4, "failed", 0, "x")]
    await again.close()


@pytest_twisted.ensureDeferred
async def test_tables_that_a_gateway_has_made_and_never_used_give_way(
    database, conninfo, empty, file
):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    made = await opened(empty, 1)
    await migrate(made)
    await ask(made, "INSERT INTO nodes VALUES ('crashed', now() - interval '1 minute')")
    await made.close()
    again = await restored(empty, file, made=True)
    assert len(await rows(again, STATES)) == 4
    await again.close()


@pytest.mark.parametrize(
    "use",
    [
        "INSERT INTO org_counters VALUES ('was', 7)",
        "INSERT INTO orgs VALUES ('new', '', '', '')",
        "INSERT INTO nodes VALUES ('alive', now())",
    ],
    ids=["was", "new", "alive"],
)
@pytest_twisted.ensureDeferred
async def test_a_database_that_somebody_uses_by_then_stays_as_it_is(
    database, conninfo, empty, file, use
):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    made = await opened(empty, 1)
    await migrate(made)
    await ask(made, use)
    with pytest.raises(PostgresUnusable, match="somebody uses this database by now"):
        await dumps.restore(server(empty), file, made=True, fail_pending=True)
    assert await rows(made, "SELECT 1 FROM messages") == []
    assert len(await tables(made)) == 1
    await made.close()


@pytest_twisted.ensureDeferred
async def test_a_file_that_breaks_off_leaves_nothing(database, conninfo, empty, file):
    await lived_in(database)
    await ask(
        database,
        "INSERT INTO messages (org_id, id, direction, address, address_key, body, status)"
        " SELECT 'acme', n, 'in', '', '', md5(n::text), 'received'"
        " FROM generate_series(10, 20000) AS n",
    )
    await dumps.dump(server(conninfo), file)
    os.ftruncate(file, os.fstat(file).st_size * 3 // 4)
    with pytest.raises(PostgresUnusable, match=r"pg_restore failed: .*end of file"):
        await dumps.restore(server(empty), file, made=False, fail_pending=True)
    again = await opened(empty, 1)
    assert await tables(again) == []
    await again.close()


@pytest_twisted.ensureDeferred
async def test_who_gives_up_half_way_leaves_nothing_and_no_program(database, conninfo, empty, file):
    await lived_in(database)
    await dumps.dump(server(conninfo), file)
    watching = await opened(empty, 1)
    rival = psycopg2.connect(empty)
    rival.cursor().execute("CREATE TABLE sims ()")  # until this ends nobody else can
    ended = []
    work = Deferred.fromCoroutine(dumps.restore(server(empty), file, made=False, fail_pending=True))
    work.addBoth(ended.append)
    await until(lambda: rows(watching, f"{PSQL} AND wait_event_type = 'Lock'"))
    work.cancel()
    await until(has(ended))
    assert ended[0].check(CancelledError)
    rival.close()
    await until(lambda: rows(watching, f"SELECT 1 WHERE NOT EXISTS ({PSQL})"))
    assert await tables(watching) == []
    await watching.close()


@pytest_twisted.ensureDeferred
async def test_a_file_says_which_gateway_it_is_of(database, conninfo, file, second):
    await dumps.dump(server(conninfo), file)
    known = {each.version: each.sha256 for each in migrations()}
    assert await dumps.versions(reactor, newest(), file) == known
    await ask(database, "ALTER TABLE schema_migrations RENAME TO others")
    await dumps.dump(server(conninfo), second)
    assert await dumps.versions(reactor, newest(), second) == {}


@pytest_twisted.ensureDeferred
async def test_what_is_no_dump_is_told_of(file):
    os.write(file, b"dear diary\n" * 100)
    with pytest.raises(PostgresUnusable, match=r"valid archive|valid tar archive"):
        await dumps.versions(reactor, newest(), file)


@pytest_twisted.ensureDeferred
async def test_a_copy_has_everything_as_it_was(database, conninfo, empty):
    await lived_in(database)
    await dumps.copy(server(conninfo), server(empty))
    again = await opened(empty, 1)
    for everything in (STATES, COUNTERS, "SELECT * FROM sessions"):
        assert await rows(again, everything) == await rows(database, everything) != []
    await again.close()


@pytest_twisted.ensureDeferred
async def test_a_dump_of_a_server_that_does_not_answer_says_why(file):
    with pytest.raises(PostgresUnusable, match=r"pg_dump failed: .*refused"):
        await dumps.dump(server("postgresql://127.0.0.1:9/x"), file)
