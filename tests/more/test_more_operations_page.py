"""The operations page, followed word by word on a machine where nothing of smsd is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from confined import ACCOUNT
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from tools import tool

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "operations.md"
PARTS = (
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "smsd",
    "twisted",
    "docs",
    "systemd",
)
#: A machine of its own, as far as a program can have one; with it all its processes end.
MACHINE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
#: The part that has its own tests: a socket that systemd holds (tests/whole).
NOT_FOLLOWED = "## Let systemd hold the port"


def blocks(kind: str) -> list[str]:
    """The page's fenced blocks of a kind, in their order, without those of `NOT_FOLLOWED`."""
    before, _, after = PAGE.read_text().partition(NOT_FOLLOWED)
    text = before + after[after.index("\n## ") :]
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.M | re.S)


@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root may have a machine of its own")
def test_the_page_leads_to_a_phone_behind_nginx_with_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nginx", "openssl", "curl", "systemd-analyze", "ip"):
        tool(name)
    for part in PARTS:  # a copy, since a build leaves its traces beside the sources
        source, target = CHECKOUT / part, tmp_path / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache", "_build")
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy(source, target)
    follower = str(Path(__file__).with_name("follower.py"))
    run = subprocess.run(
        [*MACHINE, sys.executable, follower, str(tmp_path)],
        input=json.dumps(blocks("sh")),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr

    told = json.loads(run.stdout.splitlines()[-1])
    (row,) = json.loads(told["page"])["messages"]
    assert (row["body"], row["status"]) == ("sent through nginx", "sent")
    assert told["account"] == ACCOUNT
    assert " POST /send 200 " in told["nginx"]
    assert "my-secret-key-123" not in told["nginx"]
    with capsys.disabled():
        print(f"\nwith nobody on line smsd has {told['MiB']} MiB")


def test_what_smsd_writes_is_in_no_log_of_an_own_postgres(postgres: str) -> None:
    """Its superuser's lines of the page, on a Postgres that would log all of it."""
    (lines,) = blocks("sql")
    database = psycopg2.connect(postgres)
    database.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    statements = [line for line in lines.splitlines() if not line.startswith("--")]
    with database.cursor() as cursor:
        for line in statements:
            cursor.execute(line.replace("smsd", "other_smsd"))
        cursor.execute("SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0")
        ((settings,),) = cursor.fetchall()
        cursor.execute("DROP DATABASE other_smsd")
        cursor.execute("DROP ROLE other_smsd")
    database.close()
    assert dict(one.split("=") for one in settings) == {
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_duration_sample": "-1",
        "log_transaction_sample_rate": "0",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
    }
