"""docs/logs.md tells of every line that the gateway logs, and of no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "logs.md").read_text()
LEVELS = {"info": "info", "warn": "warn", "error": "error", "critical": "critical"}
LEVELS |= {"failure": "critical", "emit": "any"}
#: The phone to try the gateway with is another program.
ELSEWHERE = ROOT / "smsd" / "handset"


class Line(NamedTuple):
    level: str
    text: str
    fields: frozenset[str]


def logged() -> Iterator[Line]:
    for path in (ROOT / "smsd").rglob("*.py"):
        if ELSEWHERE not in path.parents:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (line := as_line(node)):
                    yield line


def as_line(call: ast.Call) -> Line | None:
    """The line that a call writes, if it is one to a logger."""
    said = call.func
    if not isinstance(said, ast.Attribute) or said.attr not in LEVELS:
        return None
    if not re.search(r"\b_?log$", ast.unparse(said.value)):
        return None
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    fields = {word.arg for word in call.keywords if word.arg} - {"failure", "level"}
    return Line(LEVELS[said.attr], texts[0], frozenset(fields))


def told() -> Iterator[Line]:
    for level, text, fields in re.findall(r"^\| (\w+) \| `([^`]+)` \|([^|]*)\|", PAGE, re.M):
        yield Line(level, text, frozenset(re.findall(r"`(\w+)`", fields)))


def test_the_page_tells_of_every_line_and_of_no_other() -> None:
    assert set(told()) == set(logged())


def test_no_line_is_told_of_twice() -> None:
    assert len(list(told())) == len(set(told()))


@pytest.mark.parametrize(
    "line", sorted(set(logged()), key=lambda line: line[:2]), ids=lambda line: line.text
)
def test_a_line_has_every_field_that_it_speaks_of(line: Line) -> None:
    assert set(re.findall(r"{(\w+)}", line.text)) <= line.fields
