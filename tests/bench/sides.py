"""The two that are compared: the gateway, and what a good engineer would write instead.

Each is a process on a database of its own that answers the same calls. How they are loaded is not
here.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.meter import Cost, cpu, memory
from bench.postgres import Database, Postgres, Written

from smsd.domain.pepper import Pepper

SECRET = "a-secret-of-the-bench"
_PEPPER = "the pepper of the bench, known to all"
#: Seconds until a side must answer, or have ended.
PATIENCE = 60.0


def org(at: int) -> str:
    """The name of an org, as the load generators make it too."""
    return f"bench{at}"


@dataclass(frozen=True)
class Side(ABC):
    """What can be measured. ``stores`` and ``settles`` are how its statements look that store
    messages and that write down results."""

    name: str
    stores: str
    settles: str

    @abstractmethod
    def argv(self, port: int, database: Database, home: Path) -> list[str]:
        """The command that runs it."""

    @abstractmethod
    def environ(self, database: Database) -> dict[str, str]:
        """What it is told besides."""

    @abstractmethod
    def make_orgs(self, database: Database, names: Sequence[str]) -> None:
        """As if they had been claimed, which takes argon2id's time for each."""


class Ours(Side):
    """The gateway as a user starts it."""

    def argv(self, port: int, database: Database, home: Path) -> list[str]:
        listen = f"tcp:{port}:interface=127.0.0.1:backlog=4096"
        return [
            *(sys.executable, "-m", "smsd", "run", "--log-level", "warn"),
            *("--listen", listen, "--database", database.conninfo, "--data-dir", str(home)),
        ]

    def environ(self, database: Database) -> dict[str, str]:
        return {"SMSD_PEPPER": _PEPPER}

    def make_orgs(self, database: Database, names: Sequence[str]) -> None:
        pepper = Pepper(_PEPPER.encode())
        database.ask(
            """WITH made AS (
                   INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
                   SELECT o, 'none', h, %s FROM unnest(%s, %s::bytea[]) AS g (o, h) RETURNING org_id
               ), known AS (
                   INSERT INTO known_addresses (org_id, address, secret_hmac, right_at)
                   SELECT o, '127.0.0.1', h, now() FROM unnest(%s, %s::bytea[]) AS g (o, h)
               )
               INSERT INTO org_counters (org_id) SELECT org_id FROM made""",
            pepper.id,
            *(list(names), [pepper.seal(name, SECRET) for name in names]) * 2,
        )


class Peer(Side):
    """`bench.peer` under uvicorn."""

    def argv(self, port: int, database: Database, home: Path) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(port), "--backlog", "4096"]
        quiet = ["--no-access-log", "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", "bench.peer:app", *where, *quiet]

    def environ(self, database: Database) -> dict[str, str]:
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        return {names[key]: value for key, value in database.place.items()}

    def make_orgs(self, database: Database, names: Sequence[str]) -> None:
        from argon2 import PasswordHasher

        one = PasswordHasher().hash(SECRET)  # what it verifies once, and then remembers
        database.ask(
            "INSERT INTO orgs (org_id, secret_hash) SELECT unnest(%s), %s", list(names), one
        )


class Road(Side):
    """`bench.road`, which is no gateway: what no gateway can be faster than."""

    def argv(self, port: int, database: Database, home: Path) -> list[str]:
        return [sys.executable, "-m", "bench.road", str(port)]

    def environ(self, database: Database) -> dict[str, str]:
        return PEER.environ(database)

    def make_orgs(self, database: Database, names: Sequence[str]) -> None:
        """It knows none."""


OURS = Ours("smsd", "%INSERT INTO messages%", "%settled AS%UPDATE messages%")
PEER = Peer("FastAPI", "INSERT INTO messages%", "UPDATE messages SET status%")
ROAD = Road("the road alone", PEER.stores, PEER.settles)


class Running:
    """A side that answers, with so many orgs."""

    def __init__(self, side: Side, database: Database, home: Path) -> None:
        self.side = side
        self.database = database
        self.home = home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("SMSD_", "PG"))}
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.side.argv(self.port, self.database, self.home),
                env={**environ, **self.side.environ(self.database)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._see_it_answer()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, or kill it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def make_orgs(self, count: int) -> None:
        """And let each call once, so that whatever is remembered is remembered."""
        names = [org(at) for at in range(count)]
        self.side.make_orgs(self.database, names)
        for name in names:
            body = {"org_id": name, "secret_key": SECRET, "messages": []}
            self.call("POST", "/webhook", body)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; raises `OSError` where there is none."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            sent = None if body is None else json.dumps(body)
            line.request(method, path, sent, {"Content-Type": "application/json"})
            answer = line.getresponse()
            text = answer.read()
        finally:
            line.close()
        if answer.status != 200:
            raise SystemExit(f"{self.side.name} answered {answer.status}: {text.decode()}")
        return json.loads(text)

    @property
    def cost(self) -> Cost:
        return Cost(cpu(self._pid), cpu(self.database.server.pid))

    @property
    def stored(self) -> Written:
        """Messages, since the database was made."""
        return self.database.written(self.side.stores)

    @property
    def settled(self) -> Written:
        """Results."""
        return self.database.written(self.side.settles)

    @property
    def memory(self) -> float:
        return memory(self._pid)

    @property
    def _pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def _see_it_answer(self) -> None:
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            try:
                self.call("GET", "/health")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{self.side.name} does not run:\n{(self.home / 'log').read_text()}")


@contextmanager
def running(side: Side, postgres: Postgres, home: Path, orgs: int = 1) -> Iterator[Running]:
    """A side on a fresh database, with orgs; ended and forgotten afterwards."""
    with postgres.database() as database:
        here = home / database.name
        here.mkdir()
        one = Running(side, database, here)
        try:
            one.start()
            one.make_orgs(orgs)
            yield one
        finally:
            one.stop()


def free_port() -> int:
    """One of this machine's that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
