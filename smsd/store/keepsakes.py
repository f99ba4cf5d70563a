"""What a node keeps in its data directory beside the database: its pepper and its name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

from smsd.domain.pepper import Pepper

PEPPER, NODE = "pepper", "node"
PEPPER_BYTES = 32
#: As many daemons may share one data directory.
NODES = 64


class KeepsakeUnusable(RuntimeError):
    """A file of the data directory cannot be used; the message says which, and what to do."""


def pepper(home: Path) -> Pepper:
    """The pepper of this data directory, made on the first start (mode 0600)."""
    path = home / PEPPER
    if not path.exists():
        _make_pepper(path)
    return Pepper(_read_pepper(path))


def _make_pepper(path: Path) -> None:
    """Whole or not at all: another daemon may start now, and this one may die now."""
    draft = path.with_name(f"{PEPPER}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_hex(PEPPER_BYTES).encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read_pepper(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise KeepsakeUnusable(f"cannot read the pepper {path}: {error.strerror}") from None
    if len(key) < PEPPER_BYTES:
        raise KeepsakeUnusable(
            f"the pepper {path} is too short to be whole: restore it from a backup, or remove it"
            " (every secret is then checked once by its argon2id hash, and works on)"
        )
    return key


class NodeName:
    """This node's name, the same after a restart, so that it knows its own dead sessions.

    Several daemons may share a directory: each takes the first name that no other one holds.
    """

    def __init__(self, home: Path) -> None:
        """Take a name; raises `KeepsakeUnusable` where all are taken."""
        for number in range(NODES):
            file = os.open(home / f"{NODE}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            self._file = file
            self.node_id = _kept(file)
            return
        raise KeepsakeUnusable(f"{NODES} daemons use {home} already: give this one its own")

    def release(self) -> None:
        """Let another process have the name."""
        os.close(self._file)


def _kept(file: int) -> str:
    name = os.pread(file, 64, 0).decode("ascii", "ignore").strip()
    if not name:
        name = secrets.token_hex(8)
        os.ftruncate(file, 0)
        os.pwrite(file, name.encode(), 0)
    return name
