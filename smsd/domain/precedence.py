"""Which value of a setting wins: flags over the environment over the TOML file over defaults.

Every value that was given is judged, also one that another overrides, so that all faults are
listed at once. Nothing is read here: the environment is an argument, and files and directories
are read by functions that are.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from smsd.domain.conninfo import carries_password
from smsd.domain.rows import Row
from smsd.domain.settings import TABLE, Settings

#: Names of ours in the environment that are not settings of the gateway.
NOT_SETTINGS = ("SMSD_SECRET", "SMSD_KEY", "SMSD_USER", "SMSD_CONFIG")
#: How the credentials begin that are ours alone.
OURS = "smsd_"
ENVIRONMENT, COMMAND_LINE = "environment", "command line"

_VARIABLES = {row.variable: row for row in TABLE.values()}
_FILES = {f"{row.variable}_FILE": row for row in TABLE.values() if row.told.secret}

Flags = Mapping[str, str | list[str]]
Read = Callable[[Path], str]
Names = Callable[[Path], Iterable[str]]


class Misconfigured(Exception):
    """The settings cannot be used; every fault says where it is and what would be right."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class Given(Struct, frozen=True):
    """One value as it was given: for which setting, where, under which name there."""

    row: Row
    raw: object
    place: str
    name: str

    @property
    def origin(self) -> str:
        return self.place if self.name == self.row.name else f"{self.place} ({self.name})"


def default_data_dir(
    environ: Mapping[str, str], directory: Path, *, checkout: bool, root: bool
) -> Path:
    """Where data goes that nobody gave a place: beside a checkout, else where the system asks.

    A unit with StateDirectory= gets that named by systemd.
    """
    if checkout:
        return directory / "var"
    if state := environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    if root:
        return Path("/var/lib/smsd")
    shared = Path(environ.get("XDG_DATA_HOME") or "")
    home = Path(environ.get("HOME") or directory)
    return (shared if shared.is_absolute() else home / ".local" / "share") / "smsd"


def settle(
    flags: Flags,
    environ: Mapping[str, str],
    read: Read,
    names: Names = lambda folder: (),
    *,
    directory: Path,
    data_dir: Path,
) -> Settings:
    """The settings in force; raises `Misconfigured` with all faults.

    ``directory`` is what relative paths start from, ``data_dir`` the default for that setting;
    ``names`` lists what is in a directory.
    """
    sources = _Sources(flags, environ, read, names)
    given = sources.lowest_first()
    values: dict[str, Any] = {"data_dir": data_dir, **_judged(given, sources.faults)}
    origins = {one.row.name: one.origin for one in given}
    if values.get("claims") == "token" and "claim_token" not in origins:
        sources.faults.append(f"{origins['claims']}: token needs a claim_token too, and has none")
    if sources.faults:
        raise Misconfigured(sources.faults)
    values["data_dir"] = directory / values["data_dir"]
    return Settings(**values, origins=origins)


def _judged(given: Iterable[Given], faults: list[str]) -> dict[str, Any]:
    values = {}
    for one in given:
        try:
            values[one.row.name] = one.row.read(one.raw)
        except ValueError:
            faults.append(f"{one.place}: {one.name}: must be {one.row.right}{_instead(one)}")
    return values


def _instead(given: Given) -> str:
    """What was there, unless it is nobody's business."""
    if given.row.told.secret:
        return ""
    text = repr(given.raw)
    return f", not {text if len(text) <= 60 else text[:57] + '...'}"


@dataclass
class _Sources:
    """The places where a value may be given; what cannot be read there goes to ``faults``."""

    flags: Flags
    environ: Mapping[str, str]
    read: Read
    names: Names
    faults: list[str] = field(default_factory=list)

    def lowest_first(self) -> list[Given]:
        return [*self._file(), *self._credentials(), *self._environment(), *self._flags()]

    def _file(self) -> Iterator[Given]:
        path = self.flags.get("config") or self.environ.get("SMSD_CONFIG")
        text = self._text(Path(path), path) if isinstance(path, str) and path else None
        for name, raw in self._toml(text or "", str(path)).items():
            if row := TABLE.get(name):
                yield Given(row, raw, str(path), name)
            else:
                self.faults.append(f"{path}: {name}: {_unknown(name, TABLE)}")

    def _toml(self, text: str, path: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.faults.append(f"{path}: is not TOML: {error}")
            return {}

    def _credentials(self) -> Iterator[Given]:
        """What systemd's LoadCredential= put there, under our name or the bare one."""
        if not (folder := self.environ.get("CREDENTIALS_DIRECTORY")):
            return
        self._refuse_unknown_credentials(folder)
        for row in _FILES.values():
            for path in (Path(folder, f"{OURS}{row.name}"), Path(folder, row.name)):
                text = self._text(path, str(path), may_be_absent=True)
                if text is not None:
                    yield Given(row, text.rstrip("\r\n"), str(path), row.name)
                    break

    def _refuse_unknown_credentials(self, folder: str) -> None:
        """A database that was misspelt must not become a private one."""
        known = {f"{OURS}{row.name}" for row in _FILES.values()}
        with suppress(OSError):  # reading them will tell
            for name in sorted(self.names(Path(folder))):
                if name.startswith(OURS) and name not in known:
                    self.faults.append(f"{Path(folder, name)}: {_unknown(name, known)}")

    def _environment(self) -> Iterator[Given]:
        for name, text in sorted(self.environ.items()):
            if not name.startswith("SMSD_") or name in NOT_SETTINGS:
                continue
            if name not in _VARIABLES and name not in _FILES:
                known = [*_VARIABLES, *_FILES]
                self.faults.append(f"{ENVIRONMENT}: {name}: {_unknown(name, known)}")
            elif text:  # an empty one is how unit and compose files say "not set"
                yield from self._variable(name, text)

    def _variable(self, name: str, text: str) -> Iterator[Given]:
        if name in _VARIABLES:
            yield Given(_VARIABLES[name], text, ENVIRONMENT, name)
            return
        if self.environ.get(_FILES[name].variable):
            other = _FILES[name].variable
            self.faults.append(f"{ENVIRONMENT}: {name}: give this or {other}, not both")
            return
        secret = self._text(Path(text), f"{ENVIRONMENT}: {name}: {text}")
        if secret is not None:
            yield Given(_FILES[name], secret.rstrip("\r\n"), ENVIRONMENT, name)

    def _flags(self) -> Iterator[Given]:
        for row in TABLE.values():
            raw = self.flags.get(row.flag)
            if raw is None or not row.told.flag:
                continue
            if row.told.secret and isinstance(raw, str) and carries_password(raw):
                self.faults.append(_shown_by_ps(row))
            else:
                yield Given(row, raw, COMMAND_LINE, f"--{row.flag}")

    def _text(self, path: Path, place: str, *, may_be_absent: bool = False) -> str | None:
        try:
            return self.read(path)
        except (OSError, ValueError) as error:
            if not (may_be_absent and isinstance(error, FileNotFoundError)):
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                self.faults.append(f"{place}: cannot be read: {reason}")
        return None


def _shown_by_ps(row: Row) -> str:
    return (
        f"{COMMAND_LINE}: --{row.flag}: carries a password, which ps shows to everybody on this "
        f"machine: give it as {row.variable} in the environment, in a file named by "
        f"{row.variable}_FILE, as the systemd credential smsd_{row.name}, or in the TOML file"
    )


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"is not a setting; {f'did you mean {near[0]}?' if near else '`smsd check` lists them'}"
