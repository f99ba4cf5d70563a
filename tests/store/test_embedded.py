"""The private Postgres from its first start to its last stop."""

import os
import signal

import psycopg2
import pytest
import pytest_twisted
from clusters import (
    CHECKPOINTER,
    DEADLINE,
    HASTY,
    ask,
    filled,
    heard,
    new_home,
    removed,
    running,
    server_pid,
    the_reactor,
    wait_for_end,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from smsd.store.account import keeper
from smsd.store.embedded import Backoff, PostgresUnusable, PrivatePostgres
from smsd.store.home import CLUSTER


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


def logged(text):
    """Fires when a log line with this text has come (and not amid the code that wrote it)."""
    seen = Deferred()

    def observe(event):
        if text in formatEvent(event):
            globalLogPublisher.removeObserver(observe)
            the_reactor().callLater(0, seen.callback, formatEvent(event))

    globalLogPublisher.addObserver(observe)
    return seen.addTimeout(DEADLINE, the_reactor())


@pytest_twisted.ensureDeferred
async def test_a_new_home_gets_a_durable_cluster_that_only_its_user_can_reach(home):
    async with running(home, options={}) as (_, conninfo):
        for setting, value in {
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "jit": "off",
        }.items():
            assert ask(conninfo, f"SHOW {setting}") == value
        assert ask(conninfo, "SELECT current_user || '@' || current_database()") == "smsd@smsd"
        assert ask(conninfo, "SELECT upper('äöü é')") == "ÄÖÜ É"
        for private in (home / CLUSTER, home / "run"):
            assert private.stat().st_mode & 0o777 == 0o700
            assert private.stat().st_uid == keeper(home / CLUSTER).uid != 0
        assert sorted(each.name for each in home.iterdir()) == ["lock", CLUSTER, "run"]
    assert list((home / "run").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_the_next_start_finds_the_data(home):
    async with running(await filled(home)) as (_, conninfo):
        ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT n FROM kept") == 7


@pytest_twisted.ensureDeferred
async def test_one_server_can_be_started_and_stopped_again_and_again(home):
    server = PrivatePostgres(the_reactor(), await filled(home), options=HASTY)
    await server.stop()
    for _ in range(2):
        ask(await server.start(), "SELECT 1")
        await server.stop()
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_caller_sets_options_but_not_those_that_keep_it_private(home):
    async with running(await filled(home), options={**HASTY, "work_mem": "5MB"}) as (_, conninfo):
        assert ask(conninfo, "SHOW work_mem") == "5MB"
        assert ask(conninfo, "SHOW fsync") == "off"
    for name in ("listen_addresses", "log_statement", "log_min_messages"):
        with pytest.raises(PostgresUnusable, match=f"sets {name} itself"):
            await PrivatePostgres(the_reactor(), home, options={name: "x"}).start()


@pytest_twisted.ensureDeferred
async def test_a_second_user_of_the_data_is_refused_until_the_first_has_stopped(home):
    second = PrivatePostgres(the_reactor(), home, options=HASTY)
    async with running(await filled(home)) as (_, conninfo):
        with pytest.raises(PostgresUnusable, match=f"Another process uses {home}"):
            await second.start()
        assert ask(conninfo, "SELECT 1") == 1
    await second.start()
    await second.stop()


@pytest_twisted.ensureDeferred
async def test_a_server_that_dies_is_started_again_and_the_lock_is_never_let_go(home):
    async with running(await filled(home)) as (_, conninfo):
        ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
        ask(conninfo, "CHECKPOINT")
        died, back = logged("ended by itself (signal 9)"), logged("runs again")
        with heard() as events:
            os.kill(server_pid(conninfo), signal.SIGKILL)
            await died
            with pytest.raises(PostgresUnusable, match="Another process"):
                await PrivatePostgres(the_reactor(), home).start()
            await back
        assert ask(conninfo, "SELECT n FROM kept") == 7
    assert [each["log_level"] for each in events].count(LogLevel.error) == 1


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_start_again_is_tried_until_it_can(home):
    async with running(await filled(home)) as (_, conninfo):
        needed, away = home / CLUSTER / "global", home / CLUSTER / "global.away"
        with heard() as events:
            pid = server_pid(conninfo)
            needed.rename(away)
            os.kill(pid, signal.SIGKILL)
            for _ in range(2):
                await logged("cannot start yet")
            back = logged("runs again")
            away.rename(needed)
            await back
        assert ask(conninfo, "SELECT 1") == 1
    assert [each["log_level"] for each in events].count(LogLevel.error) == 1
    cannot = [each for each in events if "cannot start yet" in formatEvent(each)]
    assert [each["log_level"] for each in cannot[:2]] == [LogLevel.warn, LogLevel.debug]


@pytest_twisted.ensureDeferred
async def test_a_server_whose_data_is_gone_for_a_while_comes_back_with_it(home):
    async with running(await filled(home)) as (_, conninfo):
        pid = server_pid(conninfo)
        (home / CLUSTER).rename(home / "away")
        os.kill(pid, signal.SIGKILL)
        await logged("cannot start yet")
        back = logged("runs again")
        (home / "away").rename(home / CLUSTER)
        await back
        assert ask(conninfo, "SELECT 1") == 1


@pytest_twisted.ensureDeferred
async def test_stop_while_it_waits_to_start_again_ends_the_waiting(home):
    server = PrivatePostgres(the_reactor(), await filled(home), options=HASTY)
    pid = server_pid(await server.start())
    died = logged("ended by itself")
    os.kill(pid, signal.SIGKILL)
    await died
    await server.stop()
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1


@pytest_twisted.ensureDeferred
async def test_stop_while_it_starts_leaves_nothing_running_and_nothing_half_made(home):
    server = PrivatePostgres(the_reactor(), home, options=HASTY)
    starting = Deferred.fromCoroutine(server.start())
    await server.stop()
    with pytest.raises(CancelledError):
        await starting
    assert not (home / CLUSTER).exists()
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1
    assert sorted(each.name for each in home.iterdir()) == ["lock", CLUSTER, "run"]


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_stop_in_order_is_stopped_at_once(home):
    server = PrivatePostgres(the_reactor(), await filled(home), options=HASTY)
    server.grace = 0.1
    conninfo = await server.start()
    needed = ask(conninfo, CHECKPOINTER)
    os.kill(needed, signal.SIGSTOP)
    warned = logged("does not stop in order")
    at_once = logged("received immediate shutdown")
    stopping = Deferred.fromCoroutine(server.stop())
    await warned
    os.kill(needed, signal.SIGCONT)
    await at_once
    await stopping
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1


@pytest_twisted.ensureDeferred
async def test_a_server_that_somebody_has_stopped_goes_on_to_its_end(home):
    server = PrivatePostgres(the_reactor(), await filled(home), options=HASTY)
    conninfo = await server.start()
    os.kill(server_pid(conninfo), signal.SIGSTOP)
    in_order = logged("database system is shut down")
    await server.stop()
    assert in_order.called


def test_pauses_grow_to_an_end_until_a_server_was_well_for_a_while():
    backoff = Backoff()
    pauses = [backoff.pause() for _ in range(12)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == max(pauses) == 15.0
    backoff.lived(59.0)
    assert backoff.pause() == 15.0
    backoff.lived(61.0)
    assert backoff.pause() == 0.1


@pytest_twisted.ensureDeferred
async def test_stop_ends_the_server_in_order_even_with_a_client_connected(home):
    server = PrivatePostgres(the_reactor(), await filled(home), options=HASTY)
    conninfo = await server.start()
    client = psycopg2.connect(conninfo)
    pid = server_pid(conninfo)
    with heard() as events:
        await server.stop()
    client.close()
    wait_for_end(pid, 0)
    assert not (home / CLUSTER / "postmaster.pid").exists()
    assert any("database system is shut down" in formatEvent(each) for each in events)
