"""No statement, no parameter and no value of a row gets into the private Postgres' log."""

import os
import signal

import psycopg2
import psycopg2.extras
import pytest
import pytest_twisted
from clusters import (
    HASTY,
    ask,
    ask_when_back,
    filled,
    heard,
    new_home,
    removed,
    running,
    the_reactor,
)
from twisted.logger import Logger, LogLevel, formatEvent

from smsd.store import binaries
from smsd.store.account import keeper
from smsd.store.child import Child, spawn
from smsd.store.cluster import PORT, READY, Cluster
from smsd.store.directories import socket_directory
from smsd.store.home import CLUSTER
from smsd.store.journal import Journal

CANARY = "canary-7f3a"


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


#: Each makes Postgres complain of a value, or of a statement that has one in it.
WRONG = [
    "SELECT '{canary}'::int",
    "SELECT '{canary}' FROM nowhere",
    "SELEC '{canary}'",
    "INSERT INTO texts VALUES (1, '{canary}')",
    "INSERT INTO texts VALUES (1, '{canary}'), (1, '{canary}')",
    "INSERT INTO texts VALUES (2, NULL, '{canary}')",
    "INSERT INTO texts VALUES (3, 'bad', '{canary}')",
    "DO $$BEGIN RAISE EXCEPTION '{canary}' USING DETAIL = '{canary}'; END$$",
    "DO $$BEGIN RAISE WARNING '{canary}'; RAISE NOTICE '{canary}'; END$$",
    "DO $$BEGIN PERFORM '{canary}'::date; END$$",
    "SET LOCAL statement_timeout = 1; SELECT pg_sleep(60), '{canary}'",
    "SET work_mem = '{canary}'",
    "SELECT pg_terminate_backend(pg_backend_pid()), '{canary}'",
]


def provoke(conninfo, sql):
    """Send it, whatever comes of it."""
    connection = psycopg2.connect(conninfo)
    connection.autocommit = True
    try:
        connection.cursor().execute(sql)
    except psycopg2.Error as error:
        return error
    finally:
        connection.close()
    return None


@pytest_twisted.ensureDeferred
async def test_whatever_goes_wrong_no_text_is_in_the_log(home):
    with heard() as events:
        async with running(await filled(home)) as (_, conninfo):
            ask(
                conninfo,
                "CREATE TABLE texts (id int PRIMARY KEY, kind text NOT NULL CHECK (kind <> 'bad'),"
                " body text)",
            )
            ask(conninfo, "INSERT INTO texts VALUES (1, 'x', 'x')")
            complaints = [provoke(conninfo, sql.format(canary=CANARY)) for sql in WRONG]
            kill_a_backend_at_work(conninfo)
    assert any(CANARY in str(complaint) for complaint in complaints)
    lines = [formatEvent(each) for each in events]
    assert any("was terminated by signal 9" in line for line in lines)  # it was listened to
    assert [line for line in lines if CANARY in line] == []


@pytest_twisted.ensureDeferred
async def test_the_server_itself_does_not_write_it_whoever_listens(home):
    data = await filled(home) / CLUSTER
    account = keeper(data)
    programs = binaries.readable(binaries.find(), account, home)
    cluster = Cluster(data, socket_directory(home, account, PORT), programs, account, HASTY)
    lines = []
    server = spawn(the_reactor(), account, cluster.server(), Child(lines.append))
    try:
        assert await server.said(READY)
        for sql in WRONG:
            provoke(cluster.conninfo, sql.format(canary=CANARY))
        kill_a_backend_at_work(cluster.conninfo)
    finally:
        server.interrupt()
        await server.ended()
    assert any("was terminated by signal 9" in line for line in lines)
    assert [line for line in lines if CANARY in line] == []


def kill_a_backend_at_work(conninfo):
    """Postgres tells in its log what a process that crashed was running."""
    busy = psycopg2.connect(conninfo, async_=True)
    psycopg2.extras.wait_select(busy)
    busy.cursor().execute(f"SELECT pg_sleep(60), '{CANARY}'")
    query = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND pid = %s"
    assert ask(conninfo, query, busy.get_backend_pid()) == busy.get_backend_pid()
    os.kill(busy.get_backend_pid(), signal.SIGKILL)
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.extras.wait_select(busy)
    busy.close()
    assert ask_when_back(conninfo, "SELECT 1") == 1


def journal():
    """A journal as it is when the server runs, and what it lets through."""
    events = []
    listening = Journal(Logger(observer=events.append))
    listening.hear("LOG:  database system is ready to accept connections")
    events.clear()
    return listening, events


def test_a_statement_in_a_panic_is_kept_back_however_the_lines_fall():
    listening, events = journal()
    for line in (
        "PANIC:  could not write to file: No space left on device",
        f"STATEMENT:  INSERT INTO texts VALUES (1, '{CANARY}",
        f"\t{CANARY}",
        f"\tLOG:  {CANARY}",
        f"{CANARY} the end of a line that another one cut in two",
        f"DETAIL:  {CANARY}",
        f"ERROR:  {CANARY}",
    ):
        listening.hear(line)
    assert [(each["log_level"], each["line"]) for each in events] == [
        (LogLevel.critical, "PANIC:  could not write to file: No space left on device")
    ]


def test_what_a_starting_program_says_is_passed_on_whole():
    listening, events = journal()
    listening.begin()
    listening.hear("postgres: error while loading shared libraries: libz.so.1")
    assert len(events) == 1
    assert "libz.so.1" in listening.last_words()


def test_last_words_are_the_complaints_where_there_are_any():
    listening, _ = journal()
    listening.begin()
    assert listening.last_words() == "it said nothing"
    listening.hear("LOG:  starting")
    assert listening.last_words() == "LOG:  starting"
    listening.hear("FATAL:  could not create lock file")
    assert listening.last_words() == "FATAL:  could not create lock file"


def test_who_is_sent_away_by_a_stop_in_order_is_no_warning():
    listening, events = journal()
    listening.begin()
    listening.hear("FATAL:  terminating connection due to administrator command")
    listening.hear("FATAL:  the database system is shutting down")
    listening.hear("FATAL:  terminating connection because of a crash of another process")
    assert [event["log_level"].name for event in events] == ["debug", "debug", "warn"]
