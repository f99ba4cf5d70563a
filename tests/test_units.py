"""What is in systemd/: that systemd takes it, how safe it finds it, and that it does not lag."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from smsd.__main__ import main
from smsd.domain.settings import TABLE

UNITS = Path(__file__).resolve().parents[1] / "systemd"
SERVICE, SOCKET = UNITS / "smsd.service", UNITS / "smsd.socket"
#: What the unit's program is called where nothing is installed in /opt.
STAND_IN = "/bin/true"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def values(unit: Path) -> dict[str, list[str]]:
    """What each key of a unit is set to."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Z]\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def analyzed(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *argv], capture_output=True, text=True, check=False
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a directory of their own, with a program that is on every machine."""
    shutil.copy(SOCKET, tmp_path)
    program = values(SERVICE)["ExecStart"][0].split()[0]
    (tmp_path / SERVICE.name).write_text(SERVICE.read_text().replace(program, STAND_IN))
    return tmp_path


@needs_systemd
def test_systemd_finds_no_fault_in_the_units(installed: Path) -> None:
    told = analyzed("verify", *map(str, sorted(installed.iterdir())))

    assert (told.returncode, told.stdout + told.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_the_service_as_little_exposed_as_a_network_daemon_can_be() -> None:
    told = analyzed("security", "--offline=yes", str(SERVICE))

    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert float(score) <= 1.2


def test_the_toml_file_is_what_the_code_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    renew = f"{sys.executable} -m smsd settings > systemd/smsd.toml"

    committed = (UNITS / "smsd.toml").read_text()
    assert capsys.readouterr().out == committed, f"renew it: {renew}"


def test_every_setting_is_in_the_toml_file_and_may_be_set_by_taking_its_mark_away() -> None:
    text = (UNITS / "smsd.toml").read_text()
    assert tomllib.loads(text) == {}

    given = tomllib.loads(re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE))

    assert list(given) == list(TABLE)
    for row in TABLE.values():
        value = row.read(given[row.name])
        assert row.told.example or value == row.default
        assert row.told.example or row.default not in (None, ())


def test_settings_takes_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--toml"]) == 2
    assert main(["settings", "--help"]) == 0
    assert capsys.readouterr().out == ""


def test_the_service_stops_what_it_started_and_restarts_but_for_bad_settings() -> None:
    service = values(SERVICE)

    assert service["Type"] == ["notify"]
    assert service["KillMode"] == ["mixed"]  # the private Postgres must outlive the signal
    assert service["Restart"] == ["always"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert service["LimitCORE"] == ["0"]
    assert service["StartLimitIntervalSec"] == ["0"]
    (credentials,) = service["LoadCredential"]
    assert credentials.startswith("smsd:/")  # a directory: each file in it becomes smsd_<name>
