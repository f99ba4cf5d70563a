"""The private Postgres and the daemon as processes: signals, deaths, an ordinary user."""

import contextlib
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
import pytest_twisted
from clusters import (
    DEADLINE,
    ask,
    filled,
    needs_root,
    new_home,
    removed,
    server_pid,
    wait_for_end,
)

from smsd.store.home import CLUSTER

CHECKOUT = Path(__file__).parents[2]
SITE = Path(psycopg2.__file__).parents[1]

#: A daemon that has nothing but a database. It obeys SIGINT late, as one that has work to finish.
DAEMON = """
import signal, sys
from pathlib import Path
from twisted.internet import reactor, stdio
from twisted.internet.defer import Deferred
from twisted.protocols.basic import LineReceiver
from smsd.store.embedded import PostgresUnusable, PrivatePostgres

class Orders(LineReceiver):
    delimiter = b"\\n"
    def lineReceived(self, line):
        Deferred.fromCoroutine(stop())

def tell(text):
    print(text, flush=True)

async def start():
    try:
        tell(await server.start())
    except PostgresUnusable as error:
        tell(f"unusable: {error}")
        reactor.stop()

async def stop():
    await server.stop()
    tell("stopped")
    reactor.stop()

server = PrivatePostgres(reactor, Path(sys.argv[1]), options={"fsync": "off"})
stdio.StandardIO(Orders())
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
reactor.callWhenRunning(lambda: signal.signal(signal.SIGINT, lambda *_: tell("interrupted")))
reactor.run()
"""


class Daemon:
    """One such daemon, in a process group of its own as a shell would give it."""

    def __init__(self, home, python=sys.executable, **user):
        self.process = subprocess.Popen(
            [python, "-c", DAEMON, str(home)],
            env={"PYTHONPATH": f"{CHECKOUT}:{SITE}", "PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            process_group=0,
            **user,
        )

    def says(self):
        """Its next line."""
        assert select.select([self.process.stdout], [], [], DEADLINE)[0], "the daemon is silent"
        return self.process.stdout.readline().strip()

    def stop(self):
        self.process.stdin.write("stop\n")
        assert self.says() == "stopped"
        assert self.process.wait(DEADLINE) == 0

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def home():
    home = new_home()
    yield home
    removed(home)


@pytest.fixture
def daemon():
    """Starts daemons; what is left of them at the end is killed, and so its servers end."""
    with contextlib.ExitStack() as stack:

        def start(home, *arguments, **user):
            started = Daemon(home, *arguments, **user)
            stack.callback(started.end)
            return started

        yield start


@pytest_twisted.ensureDeferred
async def test_when_the_daemon_is_killed_postgres_ends_in_order_and_the_next_start_has_the_data(
    home, daemon
):
    first = daemon(await filled(home))
    conninfo = first.says()
    ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
    pid = server_pid(conninfo)
    first.process.kill()
    wait_for_end(pid)
    assert not (home / CLUSTER / "postmaster.pid").exists()
    second = daemon(home)
    assert ask(second.says(), "SELECT n FROM kept") == 7
    second.stop()


@pytest_twisted.ensureDeferred
async def test_when_the_daemon_is_killed_and_started_at_once_the_new_one_takes_over(home, daemon):
    first = daemon(await filled(home))
    conninfo = first.says()
    ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
    pid = server_pid(conninfo)
    os.kill(pid, signal.SIGSTOP)  # it gets no chance to end before the next one looks
    first.process.kill()
    first.process.wait()
    second = daemon(home)
    os.kill(pid, signal.SIGCONT)
    assert ask(second.says(), "SELECT n FROM kept") == 7
    second.stop()


@pytest_twisted.ensureDeferred
async def test_when_both_are_killed_the_next_start_recovers(home, daemon):
    first = daemon(await filled(home))
    conninfo = first.says()
    ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
    pid = server_pid(conninfo)
    os.kill(first.process.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    first.process.kill()
    first.process.wait()
    second = daemon(home)
    assert ask(second.says(), "SELECT n FROM kept") == 7
    second.stop()


@pytest_twisted.ensureDeferred
async def test_ctrl_c_leaves_postgres_to_the_daemon_which_still_has_work_to_finish(home, daemon):
    running = daemon(await filled(home))
    conninfo = running.says()
    pid = server_pid(conninfo)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.says() == "interrupted"
    assert os.getsid(pid) == pid != os.getsid(running.process.pid)
    assert ask(conninfo, "SELECT 1") == 1
    running.stop()
    wait_for_end(pid, 0)


@pytest_twisted.ensureDeferred
async def test_a_second_daemon_is_told_that_the_data_is_in_use(home, daemon):
    first = daemon(await filled(home))
    conninfo = first.says()
    second = daemon(home)
    assert second.says().startswith(f"unusable: Another process uses {home}: is smsd running")
    assert second.process.wait(DEADLINE) == 0
    assert ask(conninfo, "SELECT 1") == 1
    first.stop()


def python_for(uid):
    """A Python of our version that this user may run, or none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        allowed = python and subprocess.run(["/usr/bin/test", "-x", python], user=uid)
        if allowed and allowed.returncode == 0:
            return python
    return None


@needs_root
def test_an_ordinary_user_runs_it_as_that_user_and_others_are_kept_out(home, daemon):
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody.pw_uid)
    if python is None:
        pytest.skip("nobody may not run any Python of this version")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    unprivileged = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    running = daemon(home / "var", python, **unprivileged)
    conninfo = running.says()
    for place in (home / "var", home / "var" / CLUSTER, home / "var" / "run"):
        assert (place.stat().st_mode & 0o777, place.stat().st_uid) == (0o700, nobody.pw_uid)
    assert Path(f"/proc/{server_pid(conninfo)}").stat().st_uid == nobody.pw_uid
    ask(conninfo, "CREATE TABLE kept AS SELECT 7 AS n")
    running.stop()
    of_root = daemon(home / "var")  # who passes by, and leaves it usable for its owner
    assert ask(of_root.says(), "SELECT n FROM kept") == 7
    of_root.stop()
    again = daemon(home / "var", python, **unprivileged)
    assert ask(again.says(), "SELECT n FROM kept") == 7
    again.stop()


@needs_root
def test_an_ordinary_user_cannot_take_the_data_of_another(home, daemon):
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody.pw_uid)
    if python is None:
        pytest.skip("nobody may not run any Python of this version")
    (home / CLUSTER).mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    os.chown(home / CLUSTER, 1, 1)
    refused = daemon(home, python, user=nobody.pw_uid, group=65534, extra_groups=[])
    assert "belongs to daemon: start smsd as that user or as root" in refused.says()
