"""A file that appears under its name whole, on the disk, and only where there was none."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smsd.store.directories import to_disk


@contextmanager
def placed(path: Path) -> Iterator[int]:
    """An open file, ours alone (mode 600), that gets this name at the end, and vanishes where that
    is not reached. Raises `FileExistsError` where something has the name, now or then.

    Until then it lies beside it, as ``.NAME.….part``, locked; what a process that was killed has
    left there is removed.
    """
    if os.path.lexists(path):
        raise FileExistsError(path)
    _forget_abandoned(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
        os.fsync(file)
        _renamed(draft, path)
        to_disk(path.parent)
    finally:
        draft.unlink(missing_ok=True)
        os.close(file)


def _renamed(draft: Path, path: Path) -> None:
    """By a link, which overwrites nothing; a stick's file system may have none."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        draft.rename(path)


def _forget_abandoned(path: Path) -> None:
    for draft in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError):
            file = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
            finally:
                os.close(file)
