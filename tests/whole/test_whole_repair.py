"""The operator's commands as processes of their own, beside a gateway that runs, or does not.

``SMSD_RENEW=1 pytest tests/whole/test_whole_repair.py -k page`` writes the answers in
``docs/repair.md`` anew.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import PATIENCE, Daemon, bare_environment, new_home
from visitors import Org, until

pytestmark = pytest.mark.whole

PAGE = Path(__file__).parents[2] / "docs" / "repair.md"
EXAMPLE = re.compile(
    r"(?<=^```console\n)\$ (smsd [^\n]*)\n(.*?)(?=^```$)", re.MULTILINE | re.DOTALL
)
#: What differs from run to run, and what stands for it in the page.
VARIES = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-31 12:00:00"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "2026-01-31T12:00:00.123456+00:00"),
    (r"\b[0-9a-f]{32}\b", "9f86d081884c7d659a2feaa0c55ad015"),
)
SMSD = (sys.executable, "-m", "smsd")
GONE, HERE = "+15550100009", "+15550100001"


def smsd(
    data: Path, *argv: str, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """A command, where nobody can be asked."""
    return subprocess.run(
        [*SMSD, *argv],
        cwd=data.parent,
        env=bare_environment(SMSD_DATA_DIR=str(data), **environ),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def done(data: Path, *argv: str, **more: str) -> Any:
    """What it answers to programs; it must have been done."""
    ran = smsd(data, *argv, "--json", **more)
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def own() -> Iterator[Daemon]:
    """A gateway whose operator these tests are."""
    with new_home() as home, Daemon(home) as daemon:
        yield daemon


@pytest.fixture
def tenant(own: Daemon) -> Iterator[Org]:
    org = Org(own.url)
    with org.agent:
        yield org.claim()


# -- the page --------------------------------------------------------------------------------


def scene(gateway: Daemon) -> Org:
    """What the page speaks of, but for the phone that stays: two SMS, a ticket whose phone went
    without a result, and one whose phone never came."""
    org = Org(gateway.url, "myorg", "my-secret-key-123")
    org.store(*({"address": "+15551112222", "body": b} for b in ("hi", "are you there?")))
    with org.phone({"slot": 0, "number": GONE}) as phone:
        org.send(to="+15553334444", body="on my way", sim=GONE)
        assert phone.hear()["type"] == "send_sms"
        phone.hear_all_before_pong()  # so that the receipt is on its way
    until(lambda: not org.sims()["online_devices"])
    org.send(to="+15553334444", body="nearly there", sim=GONE)
    return org


def settled(text: str) -> str:
    for varying, fixed in VARIES:
        text = re.sub(varying, fixed, text)
    return text


def answered(gateway: Daemon, line: str) -> str:
    ran = smsd(gateway.data, *shlex.split(line)[1:])
    assert (ran.returncode, ran.stderr) == (0, ""), line
    return settled(ran.stdout)


def test_every_command_of_the_page_answers_as_the_page_says() -> None:
    page = PAGE.read_text("utf-8")
    with new_home() as home, Daemon(home) as gateway:
        org = scene(gateway)
        with org.agent, org.phone({"slot": 0, "number": HERE}, device_id="handy"):
            told = [(line, answered(gateway, line)) for line, _ in EXAMPLE.findall(page)]
    if "SMSD_RENEW" in os.environ:
        given = iter(told)
        PAGE.write_text(EXAMPLE.sub(lambda _: "$ {}\n{}".format(*next(given)), page), "utf-8")
        page = PAGE.read_text("utf-8")
    assert told == EXAMPLE.findall(page)


def test_the_page_shows_every_command() -> None:
    from smsd.repair.commands import COMMANDS

    shown = [line for line, _ in EXAMPLE.findall(PAGE.read_text("utf-8"))]
    for command in COMMANDS:
        assert any(line.startswith(f"smsd {command.name}") for line in shown), command.name
