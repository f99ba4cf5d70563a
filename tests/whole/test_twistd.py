"""What twistd makes of our service: the log it shows, what is announced, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
FAKE_GATEWAY = """
import sys, types
from twisted.application.service import MultiService
from twisted.logger import Logger

class Gateway(MultiService):
    def startService(self):
        Logger("smsd.gateway").info("starting")
        Logger("smsd.gateway").warn("{n} phones wait", n=3)
        print("a stray print")
        if "token" in self.settings.claims:
            self.failed("no luck")
        else:
            self.announce("smsd is ready.")
            self.reactor.callWhenRunning(self.reactor.stop)

def assemble(settings, reactor, **ways):
    gateway = Gateway()
    vars(gateway).update(ways, settings=settings, reactor=reactor)
    return gateway

sys.modules["smsd.assembly"] = types.ModuleType("smsd.assembly")
sys.modules["smsd.assembly"].assemble = assemble
from twisted.scripts.twistd import run
run()
"""

pytestmark = pytest.mark.whole


def twistd(tmp_path: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``twistd smsd`` with a gateway that only speaks; without an environment of its own."""
    command = ["--nodaemon", "--pidfile=", "--logger=smsd.logs.observer", "smsd", *options]
    return subprocess.run(
        [sys.executable, "-c", FAKE_GATEWAY, *command],
        cwd=CHECKOUT,
        env={"HOME": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_announcement_is_plain_and_the_log_is_ours(tmp_path: Path) -> None:
    ended = twistd(tmp_path, "--log-level", "warn")

    assert (ended.returncode, ended.stdout) == (0, "smsd is ready.\n")
    (line,) = (json.loads(line) for line in ended.stderr.splitlines())
    assert (line["level"], line["msg"]) == ("warn", "3 phones wait")


def test_a_start_that_failed_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    token = {"SMSD_CLAIM_TOKEN": "enrol-me-please"}
    ended = twistd(tmp_path, "--claims", "token", "--log-level", "critical", **token)

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "smsd: no luck\n")


def test_a_bad_setting_is_no_traceback_and_exit_code_2(tmp_path: Path) -> None:
    ended = twistd(tmp_path, "--database", "postgresql://me:hunter2@db/sms", SMSD_WINDOW="x")

    assert (ended.returncode, ended.stdout) == (2, "")
    first, *faults = ended.stderr.splitlines()
    assert first == "smsd cannot start:"
    assert sorted(fault.split(": ")[1] for fault in faults) == ["--database", "SMSD_WINDOW"]
    assert "hunter2" not in ended.stderr
