"""Starts that cannot be: each says why in one line, and ends with a code that tells the kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from daemon import Daemon, new_home

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


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
