"""A page's examples are found, run and compared; a page that is wrong is told so."""

from __future__ import annotations

from pathlib import Path

import pytest
from console import Shell, examples, hold, matches, settled
from daemon import bare_environment

PAGE = """\
# A page

```console
$ echo one; \\
  echo two
one
two
$ date +%F\\ %T
2026-01-31 12:00:00
```

```
$ this is no example
```

```console
$ false; echo $?
1
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, bare_environment(), [("http://usual", "http://here")])


def test_every_command_of_a_page_is_found_with_what_it_answers(page: Path) -> None:
    assert [(one.command, one.output) for one in examples(page)] == [
        ("echo one; \\\n  echo two", "one\ntwo\n"),
        ("date +%F\\ %T", "2026-01-31 12:00:00\n"),
        ("false; echo $?", "1\n"),
    ]


def test_a_page_that_is_right_holds(page: Path, shell: Shell) -> None:
    hold(page, shell)


@pytest.mark.parametrize(
    "wrong", [("two\n$ date", "three\n$ date"), ("\n1\n", "\n1\n2\n"), ("echo one;", "false &&")]
)
def test_a_page_that_is_wrong_does_not(page: Path, shell: Shell, wrong: tuple[str, str]) -> None:
    page.write_text(PAGE.replace(*wrong))
    with pytest.raises(AssertionError):
        hold(page, shell)


def test_a_page_without_an_example_does_not_hold(page: Path, shell: Shell) -> None:
    page.write_text("# Nothing to run\n")
    with pytest.raises(AssertionError, match="no example"):
        hold(page, shell)


def test_what_is_wrong_is_written_anew_and_what_means_the_same_stays(
    page: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENEW", "1")
    loose = PAGE.replace("one\ntwo\n", "o...\n...\n")
    page.write_text(loose.replace("\n1\n", "\n7\n"))
    hold(page, shell)
    assert page.read_text() == loose


def test_what_is_elsewhere_here_is_shown_where_it_usually_is(shell: Shell) -> None:
    assert shell("echo http://usual/x") == "http://usual/x\n"
    assert shell("test http://usual = http://here; printf same") == "same\n"


def test_smsd_is_that_of_this_checkout(shell: Shell) -> None:
    from smsd import __version__

    assert shell("smsd --version") == f"smsd {__version__}\n"


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("a ... c\n", "a b b c\n", True),
        ("a ... c\n", "a b\nb c\n", False),
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\nc\n", "a\nc\n", True),
        ("a\n...\n", "b\na\n", False),
        ("a+\n", "aa\n", False),
        ("", "", True),
        ("", "a\n", False),
    ],
)
def test_three_dots_stand_for_anything(shown: str, said: str, same: bool) -> None:
    assert matches(shown, said) is same


def test_secrets_and_times_are_made_equal() -> None:
    one, other = "2026-11-22 21:30:00 " + "ab" * 16, "2027-01-02 01:02:03 " + "cd" * 16
    assert settled(one) == settled(other) != one
