"""SIGHUP to a gateway that runs: what it reads again, and what it keeps."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import canaries
from daemon import LAST_WORDS, RUN, Daemon, bare_environment, deadline, new_home
from manager import LAUNCH
from reloaded import AGAIN, REFUSED, Reloaded
from visitors import Org

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def test_levels_of_the_log_are_taken_over_and_what_else_is_new_is_named(
    home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text('log_level = "error"')
    environ = {"DROPPED": "--log-level"}
    with Daemon(home, "--config", str(file), command=LAUNCH, environ=environ) as gateway:
        assert gateway.events() == []
        reload = Reloaded(gateway, file)
        assert reload.with_file('log_level = "info"') == [f"{AGAIN}log_level is now info"]
        assert reload.with_file('log_level = "info"\nwindow = 7\npool_size = 3', lines=2) == [
            f"{AGAIN}nothing to take over",
            "a restart is needed for what else is new: window, pool_size",
        ]
        assert reload.with_file('log_level = "loud"\nwindov = 7') == [
            f"{REFUSED}{file}: windov: is not a setting; did you mean window?;"
            f" {file}: log_level: must be one of debug, info, warn, error, critical, not 'loud'"
        ]
        assert reload.with_file('log_level = "info"') == [f"{AGAIN}nothing to take over"]


def test_proxies_are_trusted_and_no_longer_trusted(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text("")
    with Daemon(home, "--config", str(file), "--max-claims-per-hour", "1") as gateway:
        reload = Reloaded(gateway, file)

        def claims(client: str) -> int:
            org = Org(gateway.url)
            with org.agent:
                org.agent.headers["X-Forwarded-For"] = client
                return org.store().status_code

        assert [claims("198.51.100.1"), claims("198.51.100.2")] == [200, 429]
        assert reload.with_file('trusted_proxies = ["127.0.0.1"]') == [
            f"{AGAIN}trusted_proxies is now 127.0.0.1"
        ]
        assert [claims("198.51.100.1"), claims("198.51.100.1")] == [200, 429]
        assert claims("198.51.100.2") == 200
        assert reload.with_file("") == [f"{AGAIN}trusted_proxies is now (none)"]
        assert claims("198.51.100.3") == 429


# -- a terminal --


def test_a_gateway_whose_terminal_is_closed_ends_in_order(home: Path) -> None:
    ours, its = pty.openpty()
    listen = ("--listen", "tcp:0:interface=127.0.0.1", "--data-dir", str(home / "data"))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*RUN, *listen, "--log-level", "warn"],
            cwd=home,
            env=bare_environment(),
            stdin=its,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    os.close(its)
    try:
        with deadline(process):
            assert process.stdout is not None
            assert any(line.startswith(LAST_WORDS) for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(ours)
    assert canaries.found_in((home / "log").read_text()) == []
