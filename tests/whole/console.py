"""The pages' examples, executed: what a page shows under a command is what the command says.

A page shows them as a terminal does, in fences that are called ``console``:

    ```console
    $ smsd org list
    ORG ID  STATE ...
    ```

Lines with ``$ `` are commands, one that ends in a backslash goes on in the next line; what follows
is all that the command writes, to either stream. They run in bash, one after another, and each
must end with 0 (``; echo $?`` shows how another one ends). ``...`` stands for anything within a
line, and in a line of its own for any number of lines. Times, secrets and the like are made equal
before they are compared: see `VARIES`.

``RENEW=1 pytest -k page`` writes into the page whatever was answered otherwise.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds that one command may take.
PATIENCE = 120.0
DOCS = Path(__file__).parents[2] / "docs"

#: What differs from run to run, and what stands for it in a page.
VARIES = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-31 12:00:00"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "2026-01-31T12:00:00.123456+00:00"),
    (r"\b[0-9a-f]{32}\b", "9f86d081884c7d659a2feaa0c55ad015"),
)

#: The smsd of this checkout, whichever is installed.
_SHELL = f'set -o pipefail; smsd() {{ "{sys.executable}" -m smsd "$@"; }}; '
_EXAMPLE = re.compile(
    r"^\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*)\n(?P<output>(?:(?!\$ |```)[^\n]*\n)*)", re.MULTILINE
)
_FENCE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)

Answer = Callable[[str], str]


@dataclass(frozen=True)
class Example:
    """A command of a page, and what the page says that it answers."""

    command: str
    output: str


def examples(page: Path) -> list[Example]:
    """All of a page, in its order."""
    fences = "".join(_FENCE.findall(page.read_text("utf-8")))
    return [Example(each["command"], each["output"]) for each in _EXAMPLE.finditer(fences)]


class Shell:
    """A user's terminal, in a directory; ``swapped`` are pairs of what a page says, an address
    of the usual gateway for one, and what it is here."""

    def __init__(
        self, cwd: Path, environ: Mapping[str, str], swapped: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._cwd, self._environ, self._swapped = cwd, environ, swapped

    def __call__(self, command: str) -> str:
        """All that it writes, as a page would show it; it must end well."""
        for usual, here in self._swapped:
            command = command.replace(usual, here)
        ran = subprocess.run(
            ["bash", "-c", _SHELL + command],
            cwd=self._cwd,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}"
        return self._as_in_a_page(ran.stdout)

    def _as_in_a_page(self, text: str) -> str:
        for usual, here in self._swapped:
            text = text.replace(here, usual)
        return text if text.endswith("\n") or not text else f"{text}\n"


def hold(page: Path, answer: Answer, varies: Sequence[tuple[str, str]] = VARIES) -> None:
    """Every command of the page answers as the page says."""
    told = [_answered(example, answer, varies) for example in examples(page)]
    assert told, f"{page} has no example"
    if "RENEW" in os.environ:
        _renew(page, told)
    for example, output in zip(examples(page), told, strict=True):
        assert output == example.output, example.command


def _answered(example: Example, answer: Answer, varies: Sequence[tuple[str, str]]) -> str:
    """What was answered; the page's own words where they mean the same."""
    said = settled(answer(example.command), varies)
    return example.output if matches(example.output, said) else said


def settled(text: str, varies: Sequence[tuple[str, str]] = VARIES) -> str:
    """The text with what differs from run to run made equal."""
    for varying, fixed in varies:
        text = re.sub(varying, fixed, text)
    return text


def matches(shown: str, said: str) -> bool:
    """Whether this was said, where ``...`` stands for anything."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "..." else f"{_any(line)}\n" for line in shown.splitlines()
    ]
    return re.fullmatch("".join(lines), said) is not None


def _any(line: str) -> str:
    return ".*".join(map(re.escape, line.split("...")))


def _renew(page: Path, told: Sequence[str]) -> None:
    given = iter(told)

    def fence(found: re.Match[str]) -> str:
        return _EXAMPLE.sub(lambda one: f"$ {one['command']}\n{next(given)}", found[0])

    page.write_text(_FENCE.sub(fence, page.read_text("utf-8")), "utf-8")
