"""The command line of the gateway, made from the table of settings.

The same flags for ``smsd run``, ``smsd check`` and ``twistd smsd``. What they mean, and what
beats them, is `smsd.domain`'s; here is where the process's own environment and files come in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted.python import usage

from smsd import __version__
from smsd.domain.precedence import Misconfigured, default_data_dir, settle
from smsd.domain.rows import Row
from smsd.domain.settings import TABLE, Settings

_LONG = """\
Every setting has the same name as a flag (--data-dir), in the environment (SMSD_DATA_DIR) and
in the TOML file (data_dir); the first of these that gives it wins. In the environment a list is
written with spaces between. claim_token and pepper have no flag, because ps shows those; they,
and database, may also be in a file named by SMSD_..._FILE or be a systemd credential smsd_...
`smsd check` shows what is in force, `smsd settings` explains each of them.
"""

_CONFIG = ["config", None, None, "A TOML file with settings; also SMSD_CONFIG."]


def _told(row: Row) -> str:
    default = "" if row.default in (None, ()) else row.told.default or row.shown(row.default)
    choices = f": {row.metavar}" if "|" in row.metavar else ""
    return f"{row.told.help}{choices}." + (f" [default: {default}]" if default else "")


def _collector(row: Row) -> Callable[[Any, str], None]:
    """A flag that may come several times, in the form in which Twisted looks for one."""

    def collect(options: Any, value: str) -> None:
        options[row.flag] = [*(options.get(row.flag) or ()), value]

    collect.__doc__ = _told(row)
    return collect


class _Flags(usage.Options):
    optParameters = [  # noqa: RUF012 - Twisted's own way to declare them
        _CONFIG,
        *(
            [row.flag, None, None, _told(row)]
            for row in TABLE.values()
            if row.told.flag and not row.repeatable
        ),
    ]


for _row in TABLE.values():
    if _row.repeatable:
        setattr(_Flags, f"opt_{_row.name}", _collector(_row))


class Options(_Flags):
    """The flags; after parsing, ``settings`` is all that is in force.

    What cannot be used ends the process with exit code 2 and every fault, under twistd too.
    """

    synopsis = "[options]"
    longdesc = _LONG
    settings: Settings
    #: What faults are told behind.
    opening = "smsd cannot start:"

    def __init__(
        self, environ: Mapping[str, str] = os.environ, directory: Path | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._environ = environ
        self._directory = directory or Path.cwd()

    def opt_version(self) -> None:
        """Show the version and exit."""
        sys.stdout.write(f"smsd {__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            self._refuse([f"command line: {error}; --help lists the options"])

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"{words[0]!r} is not an option")

    def postOptions(self) -> None:
        try:
            self.settings = self.read_again()
        except Misconfigured as wrong:
            self._refuse(wrong.faults)

    def read_again(self) -> Settings:
        """What would be in force now, after files have changed; raises `Misconfigured`."""
        given = {name: value for name, value in self.items() if value is not None}
        return settle(
            given,
            self._environ,
            _text_of,
            os.listdir,
            directory=self._directory,
            data_dir=self._data_dir(),
        )

    def _refuse(self, faults: Sequence[str]) -> NoReturn:
        told = "".join(f"  {fault}\n" for fault in faults)
        sys.stderr.write(f"{self.opening}\n{told}")
        raise SystemExit(2)

    def _data_dir(self) -> Path:
        checkout, root = _is_checkout(self._directory), os.geteuid() == 0
        return default_data_dir(self._environ, self._directory, checkout=checkout, root=root)


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _is_checkout(directory: Path) -> bool:
    """Whether smsd is run from its own sources, where data belongs beside them."""
    try:
        lines = _text_of(directory / "setup.cfg").splitlines()
    except (OSError, ValueError):
        return False
    return "name = smsd" in lines
