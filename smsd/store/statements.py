"""The named statements of ``sql/*.sql``: SQL stays SQL, and Python knows it by name.

A file holds statements one after another, each under a line ``-- name --``. The comment below
the name says what the statement is for and is kept, so that it shows in ``pg_stat_activity``.

One under ``-- name (prepared) --`` is planned seldom on each connection, and mostly only executed.
That pays where planning costs as much as doing, as in our largest statements (1.3 ms against
0.33 ms for one row appended, 0.5 ms against 0.6 ms for one result), and only there: such a plan
knows no parameter, and on a new database it was made when the tables were empty. So `connection`
has it made again, ever more seldom.

What many statements say in the same words is a part, in ``parts.sql`` under ``-- part name --``. A
line ``@name a b`` stands for it, with ``a`` for its ``$1`` and ``b`` for its ``$2``.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_PARTS = "parts.sql"
_PART = re.compile(r"^-- part (\w+) --$", re.MULTILINE)
_USE = re.compile(r"^( *)@(\w+)((?: [\w.]+)*)$", re.MULTILINE)
_NAME = re.compile(r"^-- (\w+)( \(prepared\))? --$", re.MULTILINE)
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with ``%(named)s`` parameters."""

    name: str
    sql: str
    prepared: bool = False

    @property
    def preparation(self) -> str:
        """What plans it, once for each connection."""
        numbers = {name: at for at, name in enumerate(self._parameters, 1)}
        numbered = _PARAMETER.sub(lambda match: f"${numbers[match[1]]}", self.sql)
        return f"PREPARE {self.name} AS {numbered.replace('%%', '%')}"

    @property
    def execution(self) -> str:
        """What executes it, with the same ``%(named)s`` parameters."""
        return f"EXECUTE {self.name}({', '.join(f'%({name})s' for name in self._parameters)})"

    @property
    def rehearsal(self) -> str:
        """What plans it, and does nothing."""
        return f"EXPLAIN EXECUTE {self.name}({', '.join('NULL' for _ in self._parameters)})"

    @property
    def _parameters(self) -> list[str]:
        return list(dict.fromkeys(_PARAMETER.findall(self.sql)))


@cache
def all_statements() -> dict[str, Statement]:
    """Every statement of the package by its name; a name that is used twice is a bug."""
    found: dict[str, Statement] = {}
    folder = files(__package__).joinpath("sql")
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name == _PARTS:
            continue
        _, *pieces = _NAME.split(spelt_out(path.read_text("utf-8")))
        for name, prepared, sql in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if name in found:
                raise ValueError(f"two statements are called {name}")
            found[name] = Statement(name, sql.strip(), bool(prepared))
    return found


@cache
def _parts() -> dict[str, str]:
    text = files(__package__).joinpath("sql", _PARTS).read_text("utf-8")
    _, *pieces = _PART.split(text)
    bare = (re.sub(r"^--.*\n", "", sql, flags=re.MULTILINE).strip() for sql in pieces[1::2])
    return dict(zip(pieces[::2], bare, strict=True))


def spelt_out(sql: str) -> str:
    """The SQL with each ``@name`` line replaced by its part; an unknown one is a `KeyError`."""
    return _USE.sub(_part, sql)


def _part(use: re.Match[str]) -> str:
    indent, name, given = use.groups()
    sql = _parts()[name]
    for at, word in enumerate(given.split(), 1):
        sql = sql.replace(f"${at}", word)
    return textwrap.indent(sql, indent)


def prepared() -> list[Statement]:
    """Those that are prepared before anybody asks."""
    return [statement for statement in all_statements().values() if statement.prepared]


def named(name: str) -> Statement:
    """The statement of this name; raises `KeyError` for an unknown one."""
    return all_statements()[name]
