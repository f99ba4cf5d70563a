"""Backups and restores as an operator makes them: under load, onto another machine, cut short."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psycopg2
import pytest
from console import DOCS, VARIES, Shell, hold
from daemon import PATIENCE, Daemon, bare_environment, new_home
from visitors import Org, until

pytestmark = pytest.mark.whole

SMSD = (sys.executable, "-m", "smsd")
PASSWORD = "no-word-for-ps"


def smsd(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SMSD, *argv],
        cwd=home,
        env=bare_environment(SMSD_DATA_DIR=str(home / "data")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def done(home: Path, *argv: str) -> str:
    ran = smsd(home, *argv)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextmanager
def traffic(org: Org) -> Iterator[list[int]]:
    """SMS that arrive all the time; how many were acknowledged until now."""
    acknowledged, over = [0], Event()
    busy = Org(org.url, org.id, org.secret)

    def store() -> None:
        with busy.agent:
            while not over.is_set():
                assert busy.store(*(busy.sms() for _ in range(5))).status_code == 200
                acknowledged[0] += 5

    thread = Thread(target=store)
    thread.start()
    try:
        yield acknowledged
    finally:
        over.set()
        thread.join()


def all_of(org: Org) -> list[int]:
    """The ids of all its messages."""
    ids: list[int] = []
    while page := org.read(limit=1000, since_id=ids[-1] if ids else 0):
        ids += [row["id"] for row in page]
    return ids


def test_what_was_acknowledged_before_a_backup_is_there_after_a_restore_elsewhere() -> None:
    with new_home() as home, new_home() as other, Daemon(home) as gateway:
        org = Org(gateway.url)
        file = str(home / "backup")
        with org.agent:
            org.claim()
            with traffic(org) as acknowledged:
                until(lambda: acknowledged[0] > 50)
                before = acknowledged[0]
                done(home, "backup", file)
            last = org.read(limit=1, order="desc")[0]["id"]
        assert os.stat(file).st_mode & 0o777 == 0o600
        done(other, "restore", file, "--yes")
        assert not (other / "data" / "pepper").exists()
        with Daemon(other) as again:
            here = Org(again.url, org.id, org.secret)
            with here.agent:
                assert before <= len(all_of(here)) <= last
                here.store(here.sms())  # also without the pepper the secret is right
                (newest,) = here.read(limit=1, order="desc")
                assert last < 1_000_000 < newest["id"] <= 1_000_000 + last + 1


def test_the_page_of_backups_is_what_happens() -> None:
    varies = [*VARIES, (r"\b18\.\d+\b", "18")]
    with new_home() as home, Daemon(home) as gateway:
        org = Org(gateway.url, "myorg", "my-secret-key-123")
        with org.agent:
            org.store(org.sms(), org.sms())
        hold(
            DOCS / "backup.md",
            Shell(home, bare_environment(SMSD_DATA_DIR=str(gateway.data))),
            varies,
        )


# -- cut short ---------------------------------------------------------------------------------


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@contextmanager
def begun(home: Path, conninfo: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A command on a server of the operator's own, with a password, on its way."""
    process = subprocess.Popen(
        [*SMSD, *argv],
        cwd=home,
        env=bare_environment(
            SMSD_DATA_DIR=str(home / "data"), SMSD_DATABASE=f"{conninfo} password={PASSWORD}"
        ),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def waiting(conninfo: str, program: str) -> bool:
    """Whether this program waits for a lock in that database."""
    return ask(
        conninfo,
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = %s AND wait_event_type = 'Lock'",
        program,
    )


def connected(conninfo: str, program: str) -> bool:
    return ask(
        conninfo,
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = %s",
        program,
    )


def ask(conninfo: str, text: str, *values: object) -> bool:
    connection = psycopg2.connect(conninfo)
    try:
        cursor = connection.cursor()
        cursor.execute(text, values)
        return bool(cursor.fetchone()[0])
    finally:
        connection.close()


@contextmanager
def held(conninfo: str, text: str) -> Iterator[None]:
    """A transaction that others must wait for."""
    connection = psycopg2.connect(conninfo)
    connection.cursor().execute(text)
    try:
        yield
    finally:
        connection.close()


def shown_to_everybody() -> str:
    """What ``ps`` shows of every process."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((entry / "cmdline").read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["killed", "interrupted"]
)
def test_a_backup_that_is_cut_short_leaves_no_file(
    home: Path, conninfo: str, how: signal.Signals, code: int
) -> None:
    file = home / "backup"
    with held(conninfo, "LOCK TABLE messages"), begun(home, conninfo, "backup", str(file)) as ours:
        until(lambda: waiting(conninfo, "pg_dump"))
        assert PASSWORD not in shown_to_everybody()
        ours.send_signal(how)
        assert ours.wait(PATIENCE) == code
        assert not file.exists()
        until(lambda: not connected(conninfo, "pg_dump"))
    with begun(home, conninfo, "backup", str(file)) as ours:
        assert ours.wait(PATIENCE) == 0
    assert [path.name for path in home.iterdir() if "backup" in path.name] == ["backup"]


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["killed", "interrupted"]
)
def test_a_restore_that_is_cut_short_leaves_the_database_empty(
    home: Path, conninfo: str, how: signal.Signals, code: int
) -> None:
    file = str(home / "backup")
    with begun(home, conninfo, "backup", file) as ours:
        assert ours.wait(PATIENCE) == 0
    connection = psycopg2.connect(conninfo)
    with connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    connection.close()
    rival = held(conninfo, "CREATE TABLE sims ()")
    with rival, begun(home, conninfo, "restore", file, "--yes") as ours:
        until(lambda: waiting(conninfo, "psql"))
        ours.send_signal(how)
        assert ours.wait(PATIENCE) == code
    until(lambda: not connected(conninfo, "psql"))
    assert not ask(conninfo, "SELECT to_regclass('orgs') IS NOT NULL")
    with begun(home, conninfo, "restore", file, "--yes") as ours:
        assert ours.wait(PATIENCE) == 0


# -- what is refused ---------------------------------------------------------------------------


def test_what_cannot_be_done_says_why_and_ends_with_its_own_code(home: Path, conninfo: str) -> None:
    file, broken = str(home / "backup"), home / "broken"
    broken.write_text("dear diary\n" * 100)
    own = ("--database", conninfo)
    done(home, "backup", file, *own)
    for argv, code, why in [
        (("backup", file, *own), 4, "is there already"),
        (("backup", str(home / "nowhere" / "x"), *own), 1, "No such file or directory"),
        (("backup", str(home / "x")), 1, "No database yet"),
        (("restore", "nowhere", "--yes"), 3, "There is no file nowhere"),
        (("restore", str(broken), "--yes"), 1, "is no backup that can be read"),
        (("restore", file, "--pending", "x"), 2, "--pending 'x'"),
        (("restore", file, *own), 4, "Say --yes"),
        (("upgrade", *own), 4, "on a server of your own"),
        (("upgrade",), 1, "No database yet"),
    ]:
        ran = smsd(home, *argv)
        assert (ran.returncode, ran.stdout) == (code, ""), argv
        assert why in ran.stderr
        assert "Traceback" not in ran.stderr


def test_a_backup_of_a_newer_smsd_and_of_something_else_are_refused(
    home: Path, conninfo: str
) -> None:
    own = ("--database", conninfo)
    for number, (changes, why) in enumerate(
        [
            ("INSERT INTO schema_migrations VALUES (999, 'x', repeat('0', 64))", "version 999"),
            ("DELETE FROM schema_migrations WHERE version < 999", "version 999"),
            ("UPDATE schema_migrations SET sha256 = 'x'", "a backup of something else"),
        ]
    ):
        connection = psycopg2.connect(conninfo)
        with connection, connection.cursor() as cursor:
            cursor.execute(changes)
        connection.close()
        file = str(home / f"backup-{number}")
        done(home, "backup", file, *own)
        ran = smsd(home, "restore", file, "--yes")
        assert (ran.returncode, why in ran.stderr) == (4, True), ran.stderr


def test_a_gateway_that_runs_and_one_that_was_used_are_left_alone() -> None:
    with new_home() as home:
        file = str(home / "backup")
        with Daemon(home) as gateway:
            org = Org(gateway.url)
            with org.agent:
                org.claim()
            done(home, "backup", file)
            ran = smsd(home, "restore", file, "--yes")
            assert (ran.returncode, "A gateway runs" in ran.stderr) == (4, True)
            ran = smsd(home, "upgrade")
            assert (ran.returncode, "nothing to do" in ran.stdout) == (0, True)
        ran = smsd(home, "restore", file, "--yes")
        assert (ran.returncode, "This database is in use" in ran.stderr) == (4, True)
        assert re.search(rf"^{org.id} ", done(home, "org", "list"), re.MULTILINE)
        done(home, "backup", str(home / "again"))  # also of a Postgres that is stopped


def test_a_gateway_on_a_server_of_ones_own_is_noticed(home: Path, conninfo: str) -> None:
    own = ("--database", conninfo)
    file = str(home / "backup")
    done(home, "backup", file, *own)
    with Daemon(home, *own):
        ran = smsd(home, "restore", file, "--yes", *own)
        assert (ran.returncode, "A gateway runs on this database" in ran.stderr) == (4, True)
    done(home, "restore", file, "--yes", *own)
