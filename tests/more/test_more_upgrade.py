"""A private Postgres of Debian's version becomes one of ours, with all that was in it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from daemon import PATIENCE, Daemon, bare_environment, new_home, processes_on
from visitors import Org, until

from smsd.store.embedded import conninfo_of

OLD = Path("/usr/lib/postgresql/15/bin")
SMSD = (sys.executable, "-m", "smsd")


@pytest.fixture
def home() -> Iterator[Path]:
    if not (OLD / "postgres").exists():
        pytest.skip("not run: PostgreSQL 15 is not installed (apt-get install postgresql-15)")
    with new_home() as home:
        yield home


def begun(home: Path, *argv: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SMSD, *argv],
        cwd=home,
        env=bare_environment(SMSD_DATA_DIR=str(home / "data"), **environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def smsd(home: Path, *argv: str, **environ: str) -> tuple[int, str]:
    process = begun(home, *argv, **environ)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out + err


def old(home: Path) -> Daemon:
    """A gateway on the older version, as it was before the programs were new."""
    return Daemon(home, "--postgres-bin", str(OLD))


def filled(home: Path) -> tuple[Org, list[dict[str, Any]]]:
    with old(home) as gateway:
        org = Org(gateway.url)
        with org.agent:
            org.claim()
            org.store(*(org.sms() for _ in range(100)))
            org.ticket()
            return org, org.read(limit=1000)


def version(data: Path) -> str:
    return (data / "PG_VERSION").read_text().strip()


def test_the_start_says_what_to_do_and_then_all_is_there_as_it_was(home: Path) -> None:
    org, rows = filled(home)
    code, said = Daemon(home).ended()
    assert code == 1
    assert "run `smsd upgrade`" in said
    code, said = smsd(home, "upgrade")
    assert code == 0, said
    kept = home / "data" / "postgres-15"
    assert str(kept) in said
    assert (version(kept), version(home / "data" / "postgres")) == ("15", "18")
    assert not (home / "data" / "upgrade").exists()
    with Daemon(home) as gateway:
        here = Org(gateway.url, org.id, org.secret)
        with here.agent:
            assert here.read(limit=1000) == rows
            here.store(here.sms())
            assert here.read(limit=1, order="desc")[0]["id"] == rows[-1]["id"] + 1
        code, said = smsd(home, "upgrade")
        assert (code, "nothing to do" in said) == (0, True)


def test_an_upgrade_that_is_killed_leaves_the_old_data_at_work(home: Path) -> None:
    org, rows = filled(home)
    data = home / "data"
    process = begun(home, "upgrade")
    until(lambda: (data / "upgrade" / "postgres").exists())  # so the old one runs
    rival = psycopg2.connect(conninfo_of(data))
    rival.cursor().execute("LOCK TABLE messages")
    watching = psycopg2.connect(conninfo_of(data))
    watching.autocommit = True
    until(lambda: waits(watching))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    rival.close()
    watching.close()
    until(lambda: processes_on(home) == [])
    assert version(data / "postgres") == "15"
    with old(home) as gateway:
        here = Org(gateway.url, org.id, org.secret)
        with here.agent:
            assert here.read(limit=1000) == rows
    code, said = smsd(home, "upgrade")
    assert code == 0, said
    assert version(data / "postgres") == "18"


def waits(connection: Any) -> bool:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT 1 FROM pg_stat_activity"
        " WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    )
    return bool(cursor.fetchall())


def test_an_upgrade_that_fails_changes_nothing_and_says_why(home: Path) -> None:
    filled(home)
    data = home / "data"
    with old(home):
        code, said = smsd(home, "upgrade")
        assert (code, "A gateway runs" in said) == (4, True)
    (data / "postgres-15").mkdir()
    code, said = smsd(home, "upgrade")
    assert (code, "is in the way" in said) == (1, True)
    (data / "postgres-15").rmdir()
    (data / "upgrade").write_text("not ours")
    code, said = smsd(home, "upgrade")
    assert (code, said.startswith("smsd: Nothing has changed: ")) == (1, True), said
    assert version(data / "postgres") == "15"
    (data / "upgrade").unlink()
    assert smsd(home, "org", "list", SMSD_POSTGRES_BIN=str(OLD))[0] == 0


def test_a_backup_of_an_older_server_is_restored_into_a_newer_one(home: Path) -> None:
    org, rows = filled(home)
    code, said = smsd(home, "backup", "file", SMSD_POSTGRES_BIN=str(OLD))
    assert code == 0, said
    shutil.rmtree(home / "data")
    assert smsd(home, "restore", "file", "--yes")[0] == 0
    with Daemon(home) as gateway:
        here = Org(gateway.url, org.id, org.secret)
        with here.agent:
            assert [row["id"] for row in here.read(limit=1000)] == [row["id"] for row in rows]
