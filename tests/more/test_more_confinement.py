"""The gateway, its private Postgres included, under the limits of the unit: as far as they can be
had without systemd as process 1, each limit is in force and nothing needs what is forbidden.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canaries import canaries
from confined import ACCOUNT, LIMITS, UNTRIED, VIEWS, directives
from daemon import RUN, Daemon, new_home, wait_for_end
from manager import Manager
from proxies import certify
from syscalls import FILTERS
from tools import tool
from visitors import Org

CHECKOUT = Path(__file__).resolve().parents[2]
SERVICE = CHECKOUT / "systemd" / "smsd.service"
#: What the tests themselves bring about in another way: the account, its directory, times, signals.
PLAYED = {
    *("Type", "ExecStart", "ExecReload", "LoadCredential", "User", "UMask"),
    *("StateDirectory", "StateDirectoryMode", "WorkingDirectory", "KillMode", "WatchdogSec"),
    *("TimeoutStartSec", "TimeoutStopSec", "Restart", "RestartSec", "RestartPreventExitStatus"),
    "OOMPolicy",
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root may confine others")


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def confined(state: Path, *program: str) -> list[str]:
    """The command that runs a program of ours as the unit has it."""
    tool("systemd-analyze")
    launcher = str(Path(__file__).with_name("confined.py"))
    shown = {str(CHECKOUT), sys.prefix, sys.base_prefix} - {"/usr"}
    return [sys.executable, launcher, str(SERVICE), str(state), *sorted(shown), "--", *program]


def test_every_limit_of_the_unit_is_tried_here_or_said_why_not() -> None:
    named = {*VIEWS, *LIMITS, *FILTERS, *UNTRIED, *PLAYED}
    assert set(directives(SERVICE)) == named


@needs_root
def test_each_limit_is_in_force(home: Path, tmp_path: Path) -> None:
    probe = str(Path(__file__).with_name("probe.py"))
    (tmp_path / "file").touch()
    command = confined(home, sys.executable, probe, str(tmp_path / "file"))
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)

    ours = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "uts", "mnt")]
    assert set(ours) & set(found.pop("own place")) == set()
    assert found == {
        "account": ACCOUNT,
        "groups": [],
        "effective capabilities": 0,
        "capabilities ever": 0,
        "no new privileges": "1",
        "users known": 2,
        "read-only": ["/", "/etc", "/usr", "/var"],
        "own directory": 1,
        "homes": [],
        "the caller's temporary file": False,
        "own temporary file": 1,
        "devices": ["full", "null", "random", "shm", "tty", "urandom", "zero"],
        "other processes": [],
        "the kernel's own": [],
        "another family": "EAFNOSUPPORT",
        "packets": "EAFNOSUPPORT",
        "the internet": "done",
        "a namespace": "EPERM",
        "a mount": "EPERM",
        "real time": "EPERM",
        "a set-uid program": "EPERM",
        "another personality": "EPERM",
        "the clock": "EPERM",
        "the host's name": "EPERM",
        "another account": "EPERM",
        "another priority": "EPERM",
        "the kernel's log": "EPERM",
        "files": True,
        "a core": 0,
        "processes": 256,
    }


@needs_root
def test_the_gateway_does_all_its_work_under_the_limits(home: Path) -> None:
    """With a Postgres that it makes and starts, a claim, phones, TLS, a reload and an orderly end;
    and once more on what is there."""
    certify(home)
    listen = f"ssl:0:privateKey={home / 'key.pem'}:certKey={home / 'cert.pem'}:interface=127.0.0.1"
    command = confined(home, *RUN)
    with Manager(str(home / "notify")) as manager:
        Path(manager.address).chmod(0o777)
        environ = manager.environ(watchdog=2)
        with Daemon(home, "--listen", listen, command=command, environ=environ) as gateway:
            org = Org(gateway.url).claim()
            with org.agent, org.phone({"slot": 0}) as phone:
                ticket = org.ticket()
                assert phone.hear()["id"] == ticket
                phone.confirm(ticket)
                assert org.settled(ticket)["status"] == "sent"
                assert phone.receive(canaries.text())["type"] == "inbound_ack"
            manager.hear_fact("WATCHDOG=1")
            gateway.process.send_signal(1)
            manager.hear_fact("RELOADING=1")
            assert (home / "data").stat().st_uid == ACCOUNT
            postgres = gateway.postgres()
            assert gateway.stop() == 0
            wait_for_end(postgres)
        with Daemon(home, command=command) as gateway, org.on(gateway).agent as agent:
            agent.headers["X-Secret-Key"] = org.secret
            assert agent.get(f"/messages/{org.id}").json()["count"] == 2
