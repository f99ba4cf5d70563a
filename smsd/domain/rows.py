"""One setting as a row of the table: its names, how its value is read, and how it is shown.

The rows themselves are the fields of `smsd.domain.settings.Settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from smsd.domain.shapes import is_path


@dataclass(frozen=True)
class Told:
    """What the table says of a setting beside its type and its default.

    ``right`` completes "must be …" where the type does not say it all; ``check`` judges each
    text of it. A ``secret`` may come from a file or a systemd credential too; ``show`` says how
    much of it may be seen. ``zero`` is what 0 means, where it is not just a number. A ``live``
    one is read again by a gateway that runs. ``default`` says in words what depends on the
    machine; ``example`` is for one whose default is no value.
    """

    help: str
    metavar: str = "N"
    right: str = ""
    unit: str = ""
    zero: str = ""
    secret: bool = False
    flag: bool = True
    live: bool = False
    default: str = ""
    example: str = ""
    check: Callable[[str], bool] | None = None
    show: Callable[[str], str] = str


class Row(Struct, frozen=True):
    """One setting of the table; ``kind`` is its type with its ``bounds``, ``plain`` without."""

    name: str
    kind: Any
    plain: Any
    bounds: Meta | None
    default: Any
    told: Told

    @property
    def flag(self) -> str:
        """Its name on the command line, without the dashes in front."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"SMSD_{self.name.upper()}"

    @property
    def repeatable(self) -> bool:
        return get_origin(self.plain) is tuple

    @property
    def metavar(self) -> str:
        return "|".join(_choices(self.plain)) or self.told.metavar

    @property
    def right(self) -> str:
        """What a value must be, as the end of a sentence."""
        return f"{self.one} (several with spaces between)" if self.repeatable else self.one

    @property
    def one(self) -> str:
        """What a value must be, or each one of a list."""
        if self.told.right:
            return self.told.right
        if self.bounds is None:
            return "one of " + ", ".join(_choices(self.plain))
        what = "a whole number" if self.plain is int else "a number of seconds"
        return f"{what} from {self.bounds.ge} to {self.bounds.le}"

    def read(self, raw: object) -> Any:
        """The value that ``raw`` stands for; raises ValueError where it stands for none.

        A text, which is all that the environment has, is read by the type; a list of them is
        split at spaces.
        """
        if isinstance(raw, str) and self.repeatable:
            raw = raw.split()
        try:
            value = msgspec.convert(raw, self.kind, strict=False, dec_hook=_path)
        except (msgspec.MsgspecError, OverflowError) as error:
            raise ValueError(self.right) from error
        self._judge(value)
        return value

    def shown(self, value: Any) -> str:
        """The value for people's eyes: no secret, and with its unit."""
        if value is None or value == ():
            return "(none)"
        if self.repeatable:
            return " ".join(value)
        if value == 0 and self.told.zero:
            return f"0 ({self.told.zero})"
        plain = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{self.told.show(plain)} {self.told.unit}".rstrip()

    def _judge(self, value: Any) -> None:
        texts = value if self.repeatable else (value,)
        if self.told.check and not all(self.told.check(str(text)) for text in texts):
            raise ValueError(self.right)


def rows_of(struct: type[Struct]) -> dict[str, Row]:
    """The rows that a Struct states as its fields: those that something is told of."""
    rows = (_row(field) for field in msgspec.structs.fields(struct))
    return {row.name: row for row in rows if row is not None}


def _row(field: msgspec.structs.FieldInfo) -> Row | None:
    metadata = getattr(field.type, "__metadata__", ())
    told = next((m for m in metadata if isinstance(m, Told)), None)
    bounds = next((m for m in metadata if isinstance(m, Meta)), None)
    if told is None:
        return None
    return Row(field.name, field.type, field.type.__origin__, bounds, field.default, told)


def _choices(plain: Any) -> tuple[str, ...]:
    return get_args(plain) if get_origin(plain) is Literal else ()


def _path(kind: type, raw: Any) -> Path:
    # Path("") is ".", so that the text is judged before it becomes a path.
    if kind is Path and isinstance(raw, str) and is_path(raw):
        return Path(raw)
    raise ValueError("not a path")
