"""The TOML file with every setting in it, each as a comment above its default.

Made from the table, so that it cannot lag behind it; `smsd settings` prints it.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from smsd.domain.rows import Row
from smsd.domain.settings import TABLE

_HEAD = """\
# The settings of smsd, as `smsd settings` prints them. To set one, take the # before its name
# away and write your own value; where it has no default, an example stands there.
#
# A flag (--log-level) or a variable (SMSD_LOG_LEVEL) of the same name beats what is said here;
# `smsd check` shows what is in force and where it came from. What SIGHUP (systemctl reload) reads
# again says so; the others need a restart.
"""


def commented() -> str:
    """The file."""
    return "\n".join([_HEAD, *(_paragraph(row) for row in TABLE.values())])


def _paragraph(row: Row) -> str:
    lines = [*_wrapped(f"{row.told.help}."), *_wrapped(" ".join(_rules(row)))]
    return "\n".join([*lines, f"#{row.name} = {_toml(_value(row))}", ""])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 98, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _rules(row: Row) -> Iterator[str]:
    yield f"A list; each is {row.one}." if row.repeatable else f"{row.one[0].upper()}{row.one[1:]}."
    if row.told.unit and row.default == 0:
        yield f"Unit: {row.told.unit}."
    yield f"Default: {row.told.default or row.shown(row.default)}."
    if row.told.secret:
        yield f"Better in a file that {row.variable}_FILE names, or a systemd credential."
    if row.told.live:
        yield "Read again at SIGHUP."


def _value(row: Row) -> Any:
    if not row.told.example:
        return row.default
    return [row.told.example] if row.repeatable else row.told.example


def _toml(value: Any) -> str:
    """A text, a number, or a list of texts: JSON and TOML write these alike."""
    return json.dumps(value, ensure_ascii=False)
