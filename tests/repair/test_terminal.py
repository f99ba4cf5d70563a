"""What a command says, and how it asks."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock

from smsd.repair.endings import NotAllowed
from smsd.repair.terminal import Terminal, shown

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)


class Keyboard(io.StringIO):
    """Somebody who types this at a terminal."""

    def isatty(self) -> bool:
        return True


class Typed:
    """A terminal in memory."""

    def __init__(self, stdin: io.StringIO | None = None, **how: bool) -> None:
        self.clock, self.out, self.err = Clock(), io.StringIO(), io.StringIO()
        self.terminal = Terminal(
            self.clock.seconds,
            stdin=stdin or io.StringIO(),
            stdout=self.out,
            stderr=self.err,
            **how,
        )


def test_a_list_is_a_table_for_people_and_an_array_for_programs() -> None:
    rows = [{"org_id": "acme", "at": NOON, "more": 1}, {"org_id": "b", "at": None, "more": 2}]
    people, programs = Typed(), Typed(json=True)
    for typed in (people, programs):
        typed.terminal.rows(("org_id", "at"), rows, empty="none")
    assert people.out.getvalue().splitlines() == [
        "ORG ID  AT",
        "acme    2026-01-31 12:00:00",
        "b       -",
    ]
    assert json.loads(programs.out.getvalue())[0] == {
        "org_id": "acme",
        "at": "2026-01-31T12:00:00.123456Z",
        "more": 1,
    }


def test_an_empty_list_is_a_sentence_for_people_and_empty_for_programs() -> None:
    people, programs = Typed(), Typed(json=True)
    for typed in (people, programs):
        typed.terminal.rows(("id",), [], empty="There is none.")
    assert (people.out.getvalue(), programs.out.getvalue()) == ("There is none.\n", "[]\n")


def test_what_a_phone_calls_itself_does_not_command_the_terminal() -> None:
    assert shown("a\x1b[2Jb\n") == "a\\x1b[2Jb\\x0a"


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_a_yes_is_a_yes(answer: str) -> None:
    typed = Typed(Keyboard(answer))
    typed.terminal.confirm("Really?")
    assert typed.err.getvalue() == "Really? [y/N] "


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yess\n"])
def test_anything_else_is_a_no(answer: str) -> None:
    with pytest.raises(NotAllowed):
        Typed(Keyboard(answer)).terminal.confirm("Really?")


def test_a_program_that_says_y_is_not_asked_and_one_that_says_yes_beforehand_goes_on() -> None:
    with pytest.raises(NotAllowed, match="Say --yes"):
        Typed(io.StringIO("y\n")).terminal.confirm("Really?")
    Typed(yes=True).terminal.confirm("Really?")


def test_progress_is_told_every_two_seconds_and_not_of_what_is_quick() -> None:
    typed = Typed()
    told = typed.terminal.progress("messages deleted")
    for _ in range(5):
        told(1000)
        typed.clock.advance(1)
    assert typed.err.getvalue().splitlines() == [
        "messages deleted: 3,000 ...",
        "messages deleted: 5,000 ...",
    ]
    assert typed.out.getvalue() == ""


def test_a_secret_that_a_program_gives_is_its_first_line() -> None:
    assert Typed(io.StringIO(" a secret \r\nmore\n")).terminal.secret() == " a secret "
