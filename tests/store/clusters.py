"""Real private Postgres servers for the tests of this directory: quick ones, in memory.

A home is a directory of its own that the server's user can pass (pytest's ``tmp_path`` is closed
to others). The first server makes a template; homes that need no new cluster get a copy of it.
"""

import atexit
import contextlib
import functools
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2
import pytest
from twisted.logger import globalLogPublisher

from smsd.store.embedded import PrivatePostgres
from smsd.store.home import CLUSTER
from smsd.store.residents import Residents

#: For tests in which nothing depends on what survives a loss of power.
HASTY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
DEADLINE = 60.0
CHECKPOINTER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not ROOT, reason="needs root, who may become another user")


def the_reactor():
    from twisted.internet import reactor

    return reactor


def new_home():
    """A fresh directory, in memory where there is room for some clusters."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 2**30
    home = Path(tempfile.mkdtemp(prefix="smsd-test-", dir=memory if roomy else None))
    home.chmod(0o711)
    return home


def removed(home):
    """Remove it, and see that no server was left in it."""
    left = [pid for cluster in home.rglob(CLUSTER) for pid in Residents(cluster).postmasters()]
    shutil.rmtree(home)
    assert left == []


@contextlib.asynccontextmanager
async def running(home, *, options=HASTY, **arguments):
    """A started server and how to connect to it."""
    server = PrivatePostgres(the_reactor(), home, options=options, **arguments)
    conninfo = await server.start()
    try:
        yield server, conninfo
    finally:
        await server.stop()


async def filled(home):
    """The same home, with a cluster in it."""
    return _copied(await _template(), home)


def _copied(template, home):
    subprocess.run(["cp", "-a", str(template / CLUSTER), str(home)], check=True)
    return home


@functools.cache
def _template_home():
    home = new_home()
    atexit.register(shutil.rmtree, home)
    return home


async def _template():
    home = _template_home()
    if not (home / CLUSTER).exists():
        async with running(home):
            pass
    return home


def ask(conninfo, sql, *values):
    """The first value of the answer; each call is a connection of its own."""
    connection = psycopg2.connect(conninfo)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(sql, values or None)
        return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def ask_when_back(conninfo, sql):
    """The same of a server that is recovering."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return ask(conninfo, sql)
        except psycopg2.OperationalError:
            assert time.monotonic() < deadline, "the server does not come back"


def server_pid(conninfo):
    """The postmaster's process."""
    return int(ask(conninfo, "SELECT pg_read_file('postmaster.pid')").split()[0])


def sockets_of(conninfo):
    """The directory of the server's socket: its mode and owner, and itself."""
    sockets = Path(ask(conninfo, "SHOW unix_socket_directories"))
    found = sockets.stat()
    return found.st_mode & 0o777, found.st_uid, sockets


def environment_of(conninfo):
    """What the server has in its environment, raw."""
    return Path(f"/proc/{server_pid(conninfo)}/environ").read_bytes()


def wait_for_end(pid, deadline=DEADLINE):
    """Until the process is gone, whoever's child it is."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], deadline)[0], f"process {pid} does not end"
    finally:
        os.close(process)


@contextlib.contextmanager
def heard():
    """All log events of the meantime."""
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(events.append)
