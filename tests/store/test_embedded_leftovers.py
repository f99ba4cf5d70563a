"""What an earlier run may have left behind, and that none of it stops a start."""

import os
import re
import signal
import subprocess
import sys
import time

import psycopg2
import psycopg2.extras
import pytest
import pytest_twisted
from clusters import (
    CHECKPOINTER,
    DEADLINE,
    ROOT,
    ask,
    filled,
    heard,
    needs_root,
    new_home,
    removed,
    running,
    server_pid,
    the_reactor,
    wait_for_end,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from smsd.store import binaries
from smsd.store.account import environment, keeper
from smsd.store.child import _SHIM
from smsd.store.embedded import PostgresUnusable, PrivatePostgres
from smsd.store.home import CLUSTER
from smsd.store.lock import DirectoryLock
from smsd.store.residents import Residents


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest.fixture
def started_by_hand():
    """Starts programs as the cluster's user, and ends what is left of them."""
    processes = []

    def start(home, *argv):
        account = keeper(home / CLUSTER)
        user = {"user": account.uid, "group": account.gid, "extra_groups": []} if ROOT else {}
        process = subprocess.Popen(
            argv, **user, env=environment(), stderr=subprocess.PIPE, text=True, cwd="/"
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def orphan(home, started_by_hand):
    """A server like ours that nobody watches."""
    found = binaries.readable(binaries.find(), keeper(home / CLUSTER), home)
    data = home / CLUSTER
    title = f"cluster_name={Residents(data).title}"
    where = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data}"]
    process = started_by_hand(
        home, found.path("postgres"), "-D", str(data), *where, "-c", title, "-c", "fsync=off"
    )
    for line in process.stderr:
        if "ready to accept connections" in line:
            return process, f"host={data} user=smsd dbname=smsd"
    raise AssertionError("it did not start")


@pytest_twisted.ensureDeferred
async def test_an_orphaned_server_on_our_data_is_stopped_in_order_first(home, started_by_hand):
    process, conninfo = orphan(await filled(home), started_by_hand)
    ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
    with heard() as events:
        async with running(home) as (_, conninfo):
            assert process.wait(0) == 0  # a fast shutdown, and over before ours started
            assert ask(conninfo, "SELECT n FROM kept") == 7
    assert any("an earlier run had left behind" in formatEvent(each) for each in events)


@pytest_twisted.ensureDeferred
async def test_a_server_on_other_data_is_left_alone(home, started_by_hand):
    beside = home / "beside"
    beside.mkdir(mode=0o711)
    process, conninfo = orphan(await filled(beside), started_by_hand)
    async with running(await filled(home)):
        assert process.poll() is None
        assert ask(conninfo, "SELECT 1") == 1


def pretending(data):
    """A shell of root's whose command line is that of a server."""
    argv = ["postgres", "-c", "read _", "-D", str(data)]
    return subprocess.Popen(argv, executable="/bin/sh", stdin=subprocess.PIPE)


@needs_root
@pytest_twisted.ensureDeferred
async def test_a_process_of_another_user_that_calls_itself_a_server_is_left_alone(home):
    with pretending(await filled(home) / CLUSTER) as pretender:
        async with running(home) as (_, conninfo):
            assert ask(conninfo, "SELECT 1") == 1
            assert pretender.poll() is None


def until_busy(conninfo, pid):
    """The server reads what it was told in its own time; each look is a connection made anew."""
    end = time.monotonic() + DEADLINE
    while ask(conninfo, "SELECT state FROM pg_stat_activity WHERE pid = %s", pid) != "active":
        assert time.monotonic() < end


@pytest_twisted.ensureDeferred
async def test_a_busy_process_of_a_server_that_was_killed_is_ended_before_a_new_one_starts(
    home, started_by_hand
):
    process, conninfo = orphan(await filled(home), started_by_hand)
    busy = psycopg2.connect(conninfo, async_=True)
    psycopg2.extras.wait_select(busy)
    busy.cursor().execute("DO $$BEGIN LOOP END LOOP; END$$")
    stray = busy.get_backend_pid()
    until_busy(conninfo, stray)
    process.kill()
    process.wait()
    assert stray in Residents(home / CLUSTER).strays()
    async with running(home) as (_, conninfo):
        wait_for_end(stray, 0)
        assert ask(conninfo, "SELECT 1") == 1
    busy.close()


def _note(home, pid):
    """The files that a server of this number leaves when the power goes."""
    account = keeper(home / CLUSTER)
    run = home / "run"
    run.mkdir(mode=0o700)
    os.chown(run, account.uid, account.gid)
    for file in (home / CLUSTER / "postmaster.pid", run / ".s.PGSQL.5432.lock"):
        file.write_text(f"{pid}\n{home / CLUSTER}\n1700000000\n5432\n{run}\n\n")
        file.chmod(0o600)
        os.chown(file, account.uid, account.gid)


@pytest_twisted.ensureDeferred
async def test_a_number_that_now_belongs_to_another_process_does_not_stop_the_start(
    home, started_by_hand
):
    other = started_by_hand(await filled(home), "/bin/sleep", "600")
    _note(home, other.pid)
    async with running(home) as (_, conninfo):
        assert server_pid(conninfo) != other.pid
    assert other.poll() is None


@pytest.mark.parametrize(
    "number",
    ["1", "999999999", "", "not a number", str(os.getpid())],
    ids=["init's", "too large", "empty", "no number", "our own"],
)
@pytest_twisted.ensureDeferred
async def test_stale_and_broken_notes_do_not_stop_the_start(home, number):
    _note(await filled(home), number)
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1


@pytest_twisted.ensureDeferred
async def test_an_orphan_that_does_not_stop_is_told_of(home, started_by_hand):
    process, _ = orphan(await filled(home), started_by_hand)
    process.send_signal(signal.SIGSTOP)
    clock = Clock()
    waiting = Deferred.fromCoroutine(Residents(home / CLUSTER).leave(clock))
    clock.advance(59)
    assert not waiting.called
    clock.advance(2)
    with pytest.raises(PostgresUnusable, match=f"process {process.pid}.*still uses {home}"):
        await waiting
    process.send_signal(signal.SIGCONT)
    process.wait(DEADLINE)


@pytest_twisted.ensureDeferred
async def test_an_orphan_that_cannot_stop_in_order_is_stopped_at_once(home, started_by_hand):
    process, conninfo = orphan(await filled(home), started_by_hand)
    needed = ask(conninfo, CHECKPOINTER)
    os.kill(needed, signal.SIGSTOP)
    clock = Clock()
    waiting = Deferred.fromCoroutine(Residents(home / CLUSTER).leave(clock))
    clock.advance(9)
    clock.advance(2)
    os.kill(needed, signal.SIGCONT)
    process.wait(DEADLINE)
    clock.advance(1)
    assert await waiting is True
    assert "received immediate shutdown" in process.stderr.read()
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1


@pytest_twisted.ensureDeferred
async def test_what_an_interrupted_first_start_left_is_swept_away(home):
    abandoned = home / f"{CLUSTER}.new-abandoned"
    (abandoned / "base").mkdir(parents=True)
    async with running(home) as (_, conninfo):
        assert ask(conninfo, "SELECT 1") == 1
    assert not abandoned.exists()


def test_a_program_whose_daemon_was_gone_before_it_could_ask_for_the_signal_never_runs():
    ran = through_shim("1", "/bin/echo", "ran")
    assert (ran.returncode, ran.stdout) == (1, "")


def test_a_program_hears_the_signal_even_if_its_daemon_was_told_not_to_and_dumps_no_core():
    """A shell starts what it puts in the background with SIGINT ignored."""
    told = through_shim(str(os.getpid()), "/bin/cat", "/proc/self/status", "/proc/self/limits")
    ignored = int(re.search(r"SigIgn:\s(\w+)", told.stdout)[1], 16)
    assert not ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGPIPE - 1)
    assert re.search(r"Max core file size +0 +0 ", told.stdout)


def through_shim(parent, *argv):
    """Run it as a child of the daemon ``parent``, with signals ignored."""
    shim = [sys.executable, "-I", "-S", "-c", _SHIM, parent, str(os.geteuid()), "0", *argv]
    ignoring = ["/bin/sh", "-c", "trap '' INT PIPE; exec \"$@\"", "sh", *shim]
    return subprocess.run(ignoring, capture_output=True, text=True)


@needs_root
def test_a_lock_that_root_makes_belongs_to_whom_the_directory_belongs(home):
    os.chown(home, 65534, 65534)
    lock = DirectoryLock(home)
    lock.take()
    lock.release()
    assert (home / "lock").stat().st_uid == 65534
    assert (home / "lock").stat().st_mode & 0o777 == 0o600


@pytest_twisted.ensureDeferred
async def test_a_lock_that_cannot_be_opened_is_told_of(home):
    (home / "lock").symlink_to(home / "elsewhere")
    with pytest.raises(PostgresUnusable, match="lock cannot be opened: Too many levels"):
        await PrivatePostgres(the_reactor(), home).start()
    assert not (home / "elsewhere").exists()
