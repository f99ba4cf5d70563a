"""The named statements of ``sql/*.sql``: SQL stays SQL, and Python knows it by name.

A file holds statements one after another, each under a line ``-- name --``. The comment below
the name says what the statement is for and is kept, so that it shows in ``pg_stat_activity``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with ``%(named)s`` parameters."""

    name: str
    sql: str


@cache
def all_statements() -> dict[str, Statement]:
    """Every statement of the package by its name; a name that is used twice is a bug."""
    found: dict[str, Statement] = {}
    for path in sorted(files(__package__).joinpath("sql").iterdir(), key=lambda p: p.name):
        _, *parts = _NAME.split(path.read_text("utf-8"))
        for name, sql in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are called {name}")
            found[name] = Statement(name, sql.strip())
    return found


def named(name: str) -> Statement:
    """The statement of this name; raises `KeyError` for an unknown one."""
    return all_statements()[name]
