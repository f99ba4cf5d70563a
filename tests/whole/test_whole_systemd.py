"""The gateway under systemd, which is played here: notices, signs of life, credentials."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, bare_environment, new_home, processes_on
from manager import Manager
from visitors import Org, until

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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see what a unit keeps to itself")
def test_check_asks_a_gateway_whose_directory_only_systemd_lets_its_account_into(
    home: Path,
) -> None:
    argv = [sys.executable, "-m", "smsd", "check", "--data-dir", str(home / "data")]

    def checked() -> str:
        run = subprocess.run(argv, env=bare_environment(), capture_output=True, text=True)
        return run.stdout

    with Daemon(home):
        home.chmod(0o700)
        assert "\nThe database answers: PostgreSQL " in checked()
        home.chmod(0o711)
    home.chmod(0o700)
    assert f"who may not enter {home}" in checked()
