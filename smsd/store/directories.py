"""Directories made with safe modes from the first moment, and never a changed one of others'."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from smsd.store.account import Account, account_of
from smsd.store.unusable import PostgresUnusable

#: sun_path has 108 bytes (unix(7)), the last of them a NUL.
LONGEST_SOCKET = 107
#: These mean something else in libpq's ``host`` or in ``unix_socket_directories``.
_MISREAD = re.compile(r"[,\"'\\\x00-\x1f\x7f]|\s$")


def made(directory: Path, mode: int) -> Path:
    """The directory, made with this mode, like all parents that are not there yet."""
    try:
        for each in (*reversed(directory.parents), directory):
            if not each.is_dir():
                _make(each, mode)
    except OSError as error:
        raise PostgresUnusable(
            f"The directory {directory} cannot be made ({error.filename}: {error.strerror}):"
            " choose another data directory."
        ) from None
    return directory


def private(directory: Path, account: Account) -> Path:
    """The directory, this account's and closed to all others: made so, or found so.

    One that is found different is refused, not mended: in /tmp it may be somebody's trap.
    """
    try:
        _make(directory, 0o700)
        if account.uid != os.geteuid():
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    except FileExistsError:
        _verify(directory, account)
    except OSError as error:
        raise PostgresUnusable(
            f"The directory {directory} cannot be made: {error.strerror}."
        ) from None
    return directory


def socket_directory(home: Path, account: Account, port: int, tmp: Path = Path("/tmp")) -> Path:
    """Where the server's socket is: in ``home``, or in /tmp where that path cannot be one."""
    inside = home / "run"
    length = len(os.fsencode(inside / f".s.PGSQL.{port}"))
    if length <= LONGEST_SOCKET and not _MISREAD.search(str(inside)):
        return private(inside, account)
    short = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return private(tmp / f"smsd-{account.uid}-{short}", account)


def _make(directory: Path, mode: int) -> None:
    directory.mkdir(mode & 0o700)
    if mode != 0o700:
        directory.chmod(mode)  # our own and new; a umask must not decide


def _verify(directory: Path, account: Account) -> None:
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        wrong = "is not a directory"
    elif found.st_uid != account.uid:
        wrong = f"belongs to {account_of(found.st_uid).name}, not to {account.name}"
    elif found.st_mode & 0o077:
        wrong = f"is open to others (mode {stat.S_IMODE(found.st_mode):o}, should be 700)"
    else:
        return
    raise PostgresUnusable(
        f"{directory} {wrong}, so the database's socket would not be safe there:"
        " remove it, or choose another data directory."
    )


def to_disk(directory: Path) -> None:
    """See that what was renamed in it stays so, also after a loss of power."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
