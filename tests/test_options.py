"""The options of a process that runs: where its secrets come from, and reading them once more."""

from pathlib import Path

import pytest

from smsd.domain.precedence import Misconfigured
from smsd.options import Options


def parsed(directory: Path, *argv: str, **environ: str) -> Options:
    options = Options(environ, directory)
    options.parseOptions(argv)
    return options


def test_what_a_file_says_is_read_again_and_a_flag_still_beats_it(tmp_path: Path) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text('log_level = "warn"\nwindow = 5')
    options = parsed(tmp_path, "--config", str(file), "--log-level", "error")

    file.write_text('log_level = "debug"\nwindow = 6')
    again = options.read_again()

    assert (again.log_level, again.window) == ("error", 6)
    assert options.settings.window == 5


def test_a_file_that_has_become_unusable_is_told_of_and_ends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "smsd.toml"
    file.write_text("window = 5")
    options = parsed(tmp_path, "--config", str(file))

    file.write_text("windov = 6")
    with pytest.raises(Misconfigured) as refused:
        options.read_again()

    assert refused.value.faults == [f"{file}: windov: is not a setting; did you mean window?"]
    assert options.settings.window == 5


def test_credentials_are_read_from_the_directory_that_systemd_names(tmp_path: Path) -> None:
    (tmp_path / "smsd_database").write_text("postgresql://me:hunter2@db/sms\n")
    (tmp_path / "smsd_pepper").write_text("p" * 32)

    found = parsed(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path)).settings

    assert found.database == "postgresql://me:hunter2@db/sms"
    assert found.pepper == "p" * 32
    assert found.origin("database") == str(tmp_path / "smsd_database")


def test_a_misspelt_credential_stops_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "smsd_databse").write_text("postgresql://db/sms")

    with pytest.raises(SystemExit):
        parsed(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path))

    assert "did you mean smsd_database?" in capsys.readouterr().err


def test_a_directory_of_credentials_that_is_not_there_holds_none(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")

    assert parsed(tmp_path, CREDENTIALS_DIRECTORY=nowhere).settings.database is None
