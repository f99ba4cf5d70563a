"""The words of an operator's command: where they may stand, and what is told of them."""

from __future__ import annotations

import pytest

from smsd.__main__ import _COMMANDS, USAGE
from smsd.repair.commands import COMMANDS, find, usage

FAIL, _ = find(["ticket", "fail"]) or (None, None)


@pytest.mark.parametrize(
    "argv",
    [
        ["5", "--org", "acme", "--json"],
        ["--org=acme", "--json", "5"],
        ["--org", "acme", "5", "--json"],
    ],
)
def test_options_may_stand_anywhere(argv: list[str]) -> None:
    assert FAIL is not None
    options = FAIL.parsed(argv)
    assert (options.words, options["org"], options["json"]) == (("5",), "acme", 1)
    assert options["yes"] == 0


def test_a_word_that_begins_with_a_plus_is_a_number() -> None:
    forget, rest = find(["org", "forget", "+1555", "-y"]) or (None, [])
    assert forget is not None
    assert forget.parsed(rest).words == ("+1555",)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "wanted ID"),
        (["1", "2"], "wanted ID"),
        (["1", "--secret-stdin"], "--secret-stdin"),
        (["1", "--org"], "--org"),
        (["1", "--window", "x"], "--window"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_says_what(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert FAIL is not None
    with pytest.raises(SystemExit) as ended:
        FAIL.parsed(argv)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("smsd did nothing:\n  command line: ")


def test_every_command_can_be_found_and_is_in_the_usage_of_its_noun() -> None:
    for command in COMMANDS:
        noun = command.name.split()[0]
        assert find(command.name.split()) == (command, [])
        assert f"smsd {command.synopsis} " in usage(noun)
        assert command.told
        assert noun in _COMMANDS
        assert f"\n  {noun} " in USAGE


def test_no_command_takes_a_secret_as_an_argument() -> None:
    for command in COMMANDS:
        taking = [option.name for option in command.options if option.default is not False]
        assert not any("secret" in name for name in taking), command.name
