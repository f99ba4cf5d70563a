"""The driver's many errors become four of ours, and a dead connection is told from a live one."""

import psycopg2
import pytest
import pytest_twisted
from clusters import new_home
from databases import conninfo_of, opened
from faults.postgres import Postgres
from seed import sql
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from smsd.domain.errors import Problem, Unavailable
from smsd.store.connection import Connection
from smsd.store.statements import Statement
from smsd.store.trouble import CannotConnect, Contended, DataRefused, is_dead, translated


@pytest_twisted.async_yield_fixture
async def connection(conninfo):
    """One connection, and how often it said that it was lost."""
    told = []
    connection = Connection(reactor, lambda lost: told.append(lost))
    await connection.open(conninfo)
    connection.told = told
    yield connection
    connection.close()


async def error_of(connection, text, **parameters):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one is what is asked)
        await connection.fetch(sql(text), parameters or None)
    return caught.value


@pytest_twisted.ensureDeferred
async def test_rows_come_as_tuples_and_none_where_there_are_none(connection):
    assert await connection.fetch(sql("SELECT 1, 'a%' UNION SELECT 2, NULL ORDER BY 1")) == [
        (1, "a%"),
        (2, None),
    ]
    assert await connection.fetch(sql("SELECT WHERE false")) == []
    assert await connection.fetch(sql("CREATE TABLE things ()")) == []


@pytest_twisted.ensureDeferred
async def test_a_session_answers_in_utc_and_waits_for_nothing_for_ever(connection):
    for name, value in {
        "timezone": "UTC",
        "statement_timeout": "5s",
        "lock_timeout": "500ms",
        "idle_in_transaction_session_timeout": "10s",
        "synchronous_commit": "on",
        "application_name": "smsd",
    }.items():
        assert await connection.fetch(sql(f"SHOW {name}")) == [(value,)]


@pytest_twisted.ensureDeferred
async def test_what_was_planned_for_a_small_table_is_planned_anew_as_it_grows(connection):
    async def told(*texts):
        for text in texts:
            rows = await connection.fetch(sql(text))
        return rows

    async def way():
        return " ".join(line for (line,) in await told("EXPLAIN EXECUTE find(7)"))

    find = Statement("find", "SELECT b FROM things WHERE a = %(a)s", prepared=True)
    await told(
        "CREATE TABLE things (a int PRIMARY KEY, b int) WITH (autovacuum_enabled = false)",
        "INSERT INTO things VALUES (0, 0)",
        "ANALYZE things",
    )
    await connection.fetch(find, {"a": 0})
    assert "Seq Scan" in await way()
    await told("INSERT INTO things SELECT n, n FROM generate_series(1, 10000) AS n")
    assert "Seq Scan" in await way(), "it knows nothing of that yet"
    await connection.fetch(find, {"a": 1})
    assert "Index" in await way()


@pytest_twisted.ensureDeferred
async def test_what_is_rehearsed_is_prepared_and_not_done(connection):
    add = Statement("add", "INSERT INTO things VALUES (%(a)s, '100%%')", prepared=True)
    await connection.fetch(sql("CREATE TABLE things (a int, b text)"))
    await connection.rehearse([add])
    seen = "SELECT name, generic_plans, custom_plans FROM pg_prepared_statements"
    assert await connection.fetch(sql(seen)) == [("add", 1, 0)]
    assert await connection.fetch(sql("TABLE things")) == []
    await connection.fetch(add, {"a": 7})
    assert await connection.fetch(sql("TABLE things")) == [(7, "100%")]
    assert await connection.fetch(sql(seen)) == [("add", 2, 0)]


@pytest_twisted.ensureDeferred
async def test_a_rehearsal_in_an_empty_table_plans_for_no_full_one(connection):
    find = Statement("find", "SELECT b FROM things WHERE a = %(a)s", prepared=True)
    for text in (
        "CREATE TABLE things (a int PRIMARY KEY, b int) WITH (autovacuum_enabled = false)",
        "INSERT INTO things VALUES (0, 0)",
        "ANALYZE things",
    ):
        await connection.fetch(sql(text))
    await connection.rehearse([find])
    await connection.fetch(sql("INSERT INTO things SELECT n, n FROM generate_series(1, 9999) AS n"))
    ((way,), *_) = await connection.fetch(sql("EXPLAIN EXECUTE find(7)"))
    assert way.startswith("Index")


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("INSERT INTO nodes VALUES ('n', now()), ('n', now())", "nodes_pkey"),
        ("INSERT INTO orgs VALUES ('a', '', '', '')", "orgs_org_id_check"),
        ("INSERT INTO org_locks VALUES ('nobody')", "org_locks_org_id_fkey"),
        ("INSERT INTO nodes VALUES ('n', NULL)", None),
        ("SELECT 'x'::int", None),
        ("SELECT 1/0", None),
        ("SELECT '\"\\u0000\"'::json ->> 0 FROM (SELECT '[\"\\u0000\"]'::json ->> 0) AS x", None),
        ("SELECT 2147483647::int + 1", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_value_that_is_refused_names_its_constraint(connection, text, constraint):
    error = await error_of(connection, text)
    assert isinstance(error, DataRefused)
    assert error.constraint == constraint
    assert not isinstance(error, Problem), "who sent it must not read our constraints"
    assert connection.usable


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT nothing", "SELECT FROM nowhere", "SELECT 1 +"])
@pytest_twisted.ensureDeferred
async def test_a_slip_in_a_statement_is_our_bug_and_comes_as_it_is(connection, text):
    assert isinstance(await error_of(connection, text), psycopg2.ProgrammingError)
    assert connection.usable


@pytest_twisted.ensureDeferred
async def test_a_parameter_that_the_driver_cannot_write_is_our_bug_too(connection):
    error = await error_of(connection, "SELECT %(a)s", a=object())
    assert isinstance(error, psycopg2.ProgrammingError)
    assert connection.usable
    assert await connection.fetch(sql("SELECT 1")) == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_statement_that_takes_too_long_is_unavailable_on_a_connection_that_lives(
    connection,
):
    await connection.fetch(sql("SET statement_timeout = '1ms'"))
    error = await error_of(connection, "SELECT pg_sleep(60)")
    assert type(error) is Unavailable
    assert error.retry_after
    assert connection.usable


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_ended_from_the_other_side_says_so_once(connection):
    error = await error_of(connection, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert type(error) is Unavailable
    assert not connection.usable
    assert connection.told == [connection]
    assert type(await error_of(connection, "SELECT 1")) is Unavailable
    assert connection.told == [connection]


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_cut_fails_what_is_under_way(connection):
    under_way = Deferred.fromCoroutine(error_of(connection, "SELECT pg_sleep(60)"))
    connection.cut()
    assert type(await under_way) is Unavailable
    connection.cut()
    connection.close()
    connection.close()


@pytest_twisted.ensureDeferred
async def test_who_cannot_connect_hears_what_the_database_said(postgres):
    refused = Connection(reactor, lambda _: None)
    with pytest.raises(CannotConnect, match='database "nowhere" does not exist') as caught:
        await refused.open(conninfo_of(postgres, "nowhere"))
    assert "\n" not in caught.value.detail
    assert not refused.usable
    refused.cut()
    refused.close()


@pytest.mark.parametrize("words", [b"", b"N", b"E", b"nonsense" * 10])
@pytest_twisted.ensureDeferred
async def test_who_is_hung_up_on_while_connecting_hears_so_and_nothing_is_logged(words):
    class HangUp(Protocol):
        def dataReceived(self, _):
            self.transport.write(words)
            self.transport.loseConnection()

    port = reactor.listenTCP(0, Factory.forProtocol(HangUp), interface="127.0.0.1")
    with pytest.raises(CannotConnect):
        await Connection(reactor, lambda _: None).open(
            f"host=127.0.0.1 port={port.getHost().port} dbname=x user=x"
        )
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_none_cannot_be_connected_to(scratch):
    with pytest.raises(CannotConnect):
        await Connection(reactor, lambda _: None).open(f"host={scratch}/nowhere dbname=x")
    with pytest.raises(CannotConnect):
        await Connection(reactor, lambda _: None).open("nonsense")


def told(code):
    return type("Told", (psycopg2.OperationalError,), {"pgcode": code})()


@pytest.mark.parametrize(
    ("code", "kind", "dead"),
    [
        ("08006", Unavailable, True),
        ("57P01", Unavailable, True),
        ("57P02", Unavailable, True),
        ("57P03", Unavailable, True),
        ("57014", Unavailable, False),
        ("53100", Unavailable, False),
        ("53300", Unavailable, False),
        ("58030", Unavailable, False),
        ("25006", Unavailable, False),
        ("XX000", Unavailable, False),
        ("55P03", Contended, False),
        ("40P01", Contended, False),
        ("40001", Contended, False),
        ("42601", psycopg2.OperationalError, False),
        ("25P02", psycopg2.OperationalError, False),
    ],
)
def test_a_code_says_whose_fault_it_is_and_whether_the_connection_lives(code, kind, dead):
    error = told(code)
    assert isinstance(translated(error), kind)
    assert is_dead(error) == dead


@pytest.mark.parametrize(
    "error",
    [
        psycopg2.OperationalError("server closed the connection unexpectedly"),
        psycopg2.DatabaseError("no message from the libpq"),
        psycopg2.InterfaceError("connection already closed"),
    ],
)
def test_an_error_without_a_code_is_a_connection_that_died(error):
    assert is_dead(error)
    assert type(translated(error)) is Unavailable


@pytest_twisted.ensureDeferred
async def test_one_that_died_unheard_is_let_go_of_whole():
    """Its socket is closed within the call that begins the statement. The reactor must not hear
    of that: it would stumble over the number, or take it for the next connection's."""
    home = new_home()
    server = Postgres(home)
    lost = []
    connection = Connection(reactor, lost.append)
    try:
        await connection.open(server.conninfo)
        await connection.fetch(sql("SELECT 1"))
        server.kill_backends(how="kill")
        server.start()
        error = await error_of(connection, "SELECT length(%(long)s)", long="x" * 100_000)
        assert isinstance(error, Unavailable)
        assert lost == [connection]
        connection.close()
    finally:
        server.close()


@pytest_twisted.ensureDeferred
async def test_one_that_refused_a_statement_unsent_still_hears_of_its_own_end(connection, conninfo):
    ((pid,),) = await connection.fetch(sql("SELECT pg_backend_pid()"))
    with pytest.raises(psycopg2.ProgrammingError):
        await connection.fetch(sql("SELECT %(given)s"), {"given": object()})
    other = await opened(conninfo, 1)
    await other.run(sql("SELECT pg_terminate_backend(%(pid)s, 10000)"), pid=pid)
    for _ in range(1000):  # turns of the reactor, in any of which it may hear
        if connection.told:
            break
        await other.run(sql("SELECT 1"))
    await other.close()
    assert connection.told == [connection]
