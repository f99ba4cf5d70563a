"""The gateway under systemd, which is played here: notices, signs of life, sockets, credentials."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home, processes_on
from manager import LAUNCH, Holder, Manager
from visitors import Agent, Org, until

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, home: Path) -> str:
    """Where a service manager hears."""
    return str(home / "notify") if request.param == "path" else f"@smsd-{secrets.token_hex(8)}"


@pytest.fixture
def manager(home: Path) -> Iterator[Manager]:
    with Manager(str(home / "notify")) as manager:
        yield manager


# -- notices --


def test_systemd_hears_of_the_start_then_that_all_is_up_then_how_it_is_then_of_the_stop(
    home: Path, address: str
) -> None:
    with Manager(address) as manager, Daemon(home, environ=manager.environ()) as gateway:
        heard = manager.hear_fact("READY=1")
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE):
            pass
        assert [fact for fact in heard if fact != "EXTEND_TIMEOUT_USEC=60000000"] == [
            "STATUS=Starting: the database",
            "STATUS=Starting: migrating the database",
            "STATUS=Starting: the listeners",
            "READY=1",
        ]
        assert len(heard) > 4  # it asked for time
        assert manager.hear() == ["STATUS=0 phones on line"]
        assert gateway.stop() == 0
        heard = manager.hear_until(lambda fact: fact.startswith("STATUS=Stopping"))
        assert heard[0] == "STOPPING=1"


def test_a_start_that_fails_is_never_called_ready(home: Path, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Daemon(home, port=taken.getsockname()[1], environ=manager.environ())
        assert daemon.ended()[0] == 1

    assert "READY=1" not in manager.hear_fact("STOPPING=1")


def test_the_status_tells_of_phones_and_of_a_database_that_is_away(
    home: Path, manager: Manager
) -> None:
    with Daemon(home, environ=manager.environ()) as gateway:
        gateway.excused.append("the database is away")
        org = Org(gateway.url).claim()
        with org.agent, org.phone(), org.phone() as second:
            manager.hear_fact("STATUS=2 phones on line")
            second.socket.close()
            manager.hear_fact("STATUS=1 phone on line")
            frozen = [pid for pid in processes_on(home) if pid != gateway.process.pid]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            try:
                manager.hear_until(lambda fact: fact.endswith("; the database does not answer"))
            finally:
                for pid in frozen:
                    os.kill(pid, signal.SIGCONT)
            manager.hear_until(lambda fact: fact.endswith("on line"))


def test_signs_of_life_come_again_and_again_but_none_from_a_frozen_gateway(
    home: Path, manager: Manager
) -> None:
    with Daemon(home, environ=manager.environ(watchdog=0.5)) as gateway:
        for _ in range(9):
            manager.hear_fact("WATCHDOG=1")
        gateway.process.send_signal(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{gateway.process.pid}/stat").read_text().split()[2] == "T")
        manager.forget()
        assert manager.is_silent(1.5)
        gateway.process.send_signal(signal.SIGCONT)
        manager.hear_fact("WATCHDOG=1")
        assert gateway.stop() == 0


def test_another_process_watchdog_is_not_ours(home: Path, manager: Manager) -> None:
    environ = {**manager.environ(watchdog=0.5), "WATCHDOG_PID": "1"}
    with Daemon(home, environ=environ):
        manager.hear_fact("STATUS=0 phones on line")
        assert manager.is_silent(1.5)


def test_a_reload_is_announced_and_ended_also_one_that_was_asked_for_during_the_start(
    home: Path, manager: Manager
) -> None:
    daemon = Daemon(home, environ=manager.environ())
    manager.hear_fact("STATUS=Starting: the database")
    daemon.process.send_signal(signal.SIGHUP)
    with daemon as gateway:
        assert "RELOADING=1" not in manager.hear_fact("READY=1")
        for again in (False, True):
            if again:
                gateway.process.send_signal(signal.SIGHUP)
            _, micros = manager.hear_fact("RELOADING=1")[-2:]
            name, _, number = micros.partition("=")
            assert name == "MONOTONIC_USEC"
            assert 0 <= time.monotonic() - int(number) / 1e6 < PATIENCE
            manager.hear_fact("READY=1")
        assert sum("read the settings again" in event["msg"] for event in gateway.events()) == 2


# -- sockets --


def test_a_socket_that_systemd_holds_is_listened_on_where_nothing_else_is_asked_for(
    home: Path,
) -> None:
    environ, where = {}, home / "held"
    with Holder(where) as holder:
        environ = holder.environ("--listen")
        with Daemon(home, command=LAUNCH, environ=environ) as gateway:
            assert gateway.url == holder.url
            org = Org(gateway.url).claim()
            with org.agent, org.phone() as phone:
                assert phone.receive(canaries.text())["type"] == "inbound_ack"


def test_a_socket_is_listened_on_by_its_name_and_one_that_is_not_wanted_is_told_of(
    home: Path,
) -> None:
    with Holder(home / "held") as holder:
        named = ("--listen", "systemd:domain=INET:name=http")
        with Daemon(home, *named, command=LAUNCH, environ=holder.environ()) as gateway:
            assert gateway.url != holder.url
            for url in (gateway.url, holder.url):
                with Agent(url) as agent:
                    assert agent.get("/ready").status_code == 200
        with Daemon(home, command=LAUNCH, environ=holder.environ()) as gateway:
            (warning,) = [e["msg"] for e in gateway.events() if "stay unused" in e["msg"]]
            assert warning == (
                "systemd holds 1 sockets for smsd, which stay unused:"
                " listen is set (command line (--listen))"
            )


class Caller(threading.Thread):
    """Stores SMS, each on a connection of its own, and each until it is acknowledged."""

    def __init__(self, org: Org, port: int) -> None:
        super().__init__()
        self.org, self.port = org, port
        self.acknowledged: list[str] = []
        self.refused = 0
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            text = canaries.text()
            until(lambda text=text: self._store(text))
            self.acknowledged.append(text)

    def _store(self, text: str) -> bool:
        message = {"address": "12345", "body": text, "id": text, "date": 1700000000000}
        body = {"org_id": self.org.id, "secret_key": self.org.secret, "messages": [message]}
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            line.request("POST", "/webhook", json.dumps(body), {"Connection": "close"})
            return line.getresponse().status == 200
        except ConnectionRefusedError:
            self.refused += 1
            return False
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()


def progress(callers: list[Caller], before: list[int]) -> list[int]:
    """How much each of them has got through since then."""
    return [len(c.acknowledged) - n for c, n in zip(callers, before, strict=True)]


def test_a_restart_under_load_on_a_socket_that_is_held_refuses_and_loses_nobody(
    home: Path,
) -> None:
    with Holder(home / "held") as holder:
        environ = holder.environ("--listen")
        with Daemon(home, command=LAUNCH, environ=environ) as gateway:
            org = Org(gateway.url).claim()
            callers = [Caller(org, holder.port) for _ in range(3)]
            for caller in callers:
                caller.start()
            until(lambda: min(progress(callers, [0, 0, 0])) > 20)
            assert gateway.stop() == 0
        before = [len(caller.acknowledged) for caller in callers]
        with org.agent, Daemon(home, command=LAUNCH, environ=environ):
            until(
                lambda: all(
                    len(c.acknowledged) > n + 20 for c, n in zip(callers, before, strict=True)
                )
            )
            for caller in callers:
                caller.enough.set()
                caller.join()
            acknowledged = Counter(text for c in callers for text in c.acknowledged)
            stored: Counter[str] = Counter()
            since = 0
            while page := org.read(since_id=since, limit=1000):
                stored.update(row["body"] for row in page)
                since = page[-1]["id"]
    assert stored == acknowledged
    assert [caller.refused for caller in callers] == [0, 0, 0]


# -- credentials --


def test_credentials_are_used_and_told_to_nobody(
    home: Path, gateway: Daemon, tmp_path: Path
) -> None:
    pepper, token, password = (canaries.secret() for _ in range(3))
    sockets = gateway.data / "run"
    conninfo = f"host={sockets} port=5432 user=smsd dbname=smsd password={password}"
    for name, secret in {"pepper": pepper, "claim_token": token, "database": conninfo}.items():
        (tmp_path / f"smsd_{name}").write_text(f"{secret}\n")

    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with Daemon(home, "--claims", "token", environ=environ) as node:
        org = Org(node.url)
        with org.agent:
            assert org.store().status_code == 401
            org.agent.headers["X-Claim-Token"] = token
            assert org.store().status_code == 200
        assert not (node.data / "pepper").exists()
        assert not (node.data / "postgres").exists()


# -- starts that fail --


def refusal(daemon: Daemon) -> tuple[int, list[str]]:
    """The exit code, and what is said beside the log."""
    code, said = daemon.ended()
    assert "Traceback" not in said
    return code, [line for line in daemon.log.read_text().splitlines() if line[0] != "{"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("windov = 1", "windov: is not a setting; did you mean window?"),
        (
            "window",
            "is not TOML: Expected '=' after a key in a key/value pair (at end of document)",
        ),
        ("window = 0", "window: must be a whole number from 1 to 1000000, not 0"),
    ],
)
def test_settings_that_cannot_be_used_are_told_in_one_line_and_end_with_2(
    home: Path, tmp_path: Path, text: str, fault: str
) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text(text)

    code, lines = refusal(Daemon(home, "--config", str(file)))

    assert (code, lines) == (2, ["smsd cannot start:", f"  {file}: {fault}"])
    assert not (home / "data").exists()


def test_a_database_of_a_newer_smsd_is_told_in_one_line_and_ends_with_1(home: Path) -> None:
    with Daemon(home) as gateway:
        database = psycopg2.connect(
            host=str(gateway.data / "run"), port=5432, user="smsd", dbname="smsd"
        )
        with database, database.cursor() as cursor:
            cursor.execute(
                "INSERT INTO schema_migrations (version, name, sha256)"
                " VALUES (9999, 'of the future', repeat('0', 64))"
            )
        database.close()

    code, (line,) = refusal(Daemon(home))

    assert code == 1
    assert line.startswith("smsd: cannot start: ")
    assert "9999" in line
