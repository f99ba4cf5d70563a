"""A real Postgres of a test's own: made, started, stopped, crashed, asked.

It runs under an account that Postgres accepts, on disks of its own where the machine allows that,
and ends when we do, however we end. The gateway comes as ``smsd``, who owns the database and is
no superuser.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg2
from faults.disk import Disks, NoDisk
from faults.processes import children_of, is_alive, send

from smsd.store import binaries
from smsd.store.account import environment, server_account
from smsd.store.cluster import QUIET

#: Seconds; far more than anything here takes on an idle machine.
PATIENCE = 60.0
CONNECTIONS = 24
OPTIONS = {
    "shared_buffers": "16MB",
    "max_connections": str(CONNECTIONS),
    "max_wal_size": "8MB",
    "min_wal_size": "2MB",
    "autovacuum": "off",
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
    "log_line_prefix": "%m ",
}
MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_NO_CORE = ("sh", "-c", 'ulimit -c 0; exec "$@"', "sh")
#: Ends the server when whoever started it has ended: then our end of the pipe is closed.
_GUARD = """
import os, signal, sys
sys.stdin.read()
try:
    pid = int(open(sys.argv[1]).read())
    for number in (signal.SIGQUIT, signal.SIGCONT):
        os.kill(pid, number)
except (OSError, ValueError):
    pass
"""


class Server:
    """One below ``home``, an empty directory that its account may pass through; when this returns
    it runs and has a role and an empty database ``smsd``."""

    def __init__(self, home: Path, *, options: Mapping[str, str] = {}) -> None:
        self.home = home.resolve()
        self.log = self.home / "postgres.log"
        self.account = server_account()
        self.disks, self.cannot_fill = self._own_disks()
        self._options = {**OPTIONS, **options}
        self._binaries = binaries.readable(binaries.find(), self.account, self.home)
        self._sockets = self._directory("sockets")
        self._data = self.disks.tables / "data" if self.disks else self._directory("data")
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._note = self.home / "server.pid"
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, str(self._note)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._make()

    # -- how to reach it --

    @property
    def conninfo(self) -> str:
        """For the gateway, over the unix socket."""
        return self._reached(str(self._sockets), "smsd", "smsd")

    @property
    def conninfo_by_tcp(self) -> str:
        """For the gateway, over TCP."""
        return self._reached("127.0.0.1", "smsd", "smsd")

    def _reached(self, host: str, user: str, database: str) -> str:
        return f"host={host} port={self._port} user={user} dbname={database}"

    def connect(self, user: str = "postgres", database: str = "smsd") -> Any:
        """A connection in autocommit, which is allowed to write even where others are not."""
        connection = psycopg2.connect(
            self._reached(str(self._sockets), user, database),
            options="-c default_transaction_read_only=off",
            application_name="nemesis",
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection

    def ask(
        self, sql: str, *values: object, user: str = "postgres", database: str = "smsd"
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement, over a connection of its own."""
        connection = self.connect(user, database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    # -- its life --

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return self._started.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def family(self) -> list[int]:
        """All its processes, the postmaster first."""
        return [self.pid, *children_of(self.pid)] if self.runs else []

    def start(self) -> None:
        """Until it answers, whether it ran before or not."""
        if not self.runs:
            self._process = self._launched()
            self._note.write_text(str(self.pid))
        self.until(self._answers, "answer")

    def stop(self, mode: str = "fast") -> None:
        """``smart``, ``fast`` or ``immediate``; until the last of its processes is gone."""
        family = self.family()
        self.thaw()
        if family:
            send(self.pid, MODES[mode])
            self._see_end(family)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def crash(self) -> None:
        """The postmaster and all its children at once, by SIGKILL."""
        family = self.family()
        for pid in family:
            send(pid, signal.SIGKILL)
        if family:
            self._see_end(family)

    def thaw(self) -> None:
        """Stopped processes go on; the others do not mind."""
        for pid in self.family():
            send(pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove all that is its own."""
        self.stop("immediate")
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(PATIENCE)
        if self.disks is not None:
            self.disks.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for it; ``what`` is what Postgres does not do if it never comes to pass."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"Postgres does not {what}: {self._last_words()}"
            time.sleep(0.02)

    # -- how --

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was never started"
        return self._process

    def _own_disks(self) -> tuple[Disks | None, str]:
        try:
            return Disks(self.home, self.account), ""
        except NoDisk as reason:
            return None, str(reason)

    def _directory(self, name: str) -> Path:
        made = self.home / name
        made.mkdir(0o700)
        os.chown(made, self.account.uid, self.account.gid)
        return made

    def _make(self) -> None:
        wal = [f"--waldir={self.disks.wal / 'segments'}"] if self.disks else []
        flags = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        where = ["-D", str(self._data), "--wal-segsize=1", *wal]
        made = subprocess.run(
            **self._inside("initdb", *flags, *where), capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        self.start()
        for sql in ("CREATE ROLE smsd LOGIN", "CREATE ROLE hog LOGIN", "CREATE DATABASE smsd"):
            self.ask(sql, database="postgres")
        self.ask("ALTER DATABASE smsd OWNER TO smsd")

    def _launched(self) -> subprocess.Popen[bytes]:
        settings = {
            **QUIET,
            **self._options,
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self._sockets),
        }
        switches = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                **self._inside("postgres", "-D", str(self._data), *switches),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _inside(self, program: str, *argv: str) -> dict[str, Any]:
        """How to run one of its programs."""
        command = [*_NO_CORE, self._binaries.path(program), *argv]
        told: dict[str, Any] = {"cwd": "/", "env": environment(), "stdin": subprocess.DEVNULL}
        if self.disks is not None:
            return {"args": self.disks.inside(command), **told}
        us, gid = self.account.uid == os.geteuid(), self.account.gid
        become = {} if us else {"user": self.account.uid, "group": gid, "extra_groups": [gid]}
        return {"args": command, **told, **become}

    def _answers(self) -> bool:
        assert self.runs, f"Postgres has ended: {self._last_words()}"
        try:
            self.ask("SELECT 1", database="postgres")
        except psycopg2.OperationalError:
            return False
        return True

    def _see_end(self, family: list[int]) -> None:
        try:
            self._started.wait(15)
        except subprocess.TimeoutExpired:  # 18.6, stopped while it recovers, may wait for ever
            send(self.pid, signal.SIGQUIT)
            self._started.wait(PATIENCE)
        self._note.unlink(missing_ok=True)
        self.until(lambda: not any(map(is_alive, family)), "end")

    def _last_words(self) -> str:
        return self.log.read_text()[-2000:]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
