"""One process to a data directory: an flock, which the kernel takes back however we end."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from smsd.store.unusable import InUse, PostgresUnusable


class DirectoryLock:
    """Held from `take` to `release`; children do not inherit it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._held: list[int] = []

    def take(self) -> None:
        """Raises `InUse` where another process has it."""
        lock = self._opened()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise InUse(
                f"Another process uses {self._home}: is smsd running already?"
                " Stop it, or choose another data directory."
            ) from None
        except OSError as error:
            os.close(lock)
            raise self._cannot("locked", error) from None
        self._held.append(lock)

    def release(self) -> None:
        """Harmless where it is not held. The file stays: to remove it would be a race."""
        while self._held:
            os.close(self._held.pop())

    def _opened(self) -> int:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(self._home / "lock", flags, 0o600)
        except OSError as error:
            raise self._cannot("opened", error) from None
        if os.geteuid() == 0:
            self._share_with_owner(lock)
        return lock

    def _share_with_owner(self, lock: int) -> None:
        """Root passing by must not leave a lock that the directory's owner cannot open."""
        owner = self._home.stat()
        os.fchown(lock, owner.st_uid, owner.st_gid)

    def _cannot(self, what: str, error: OSError) -> PostgresUnusable:
        return PostgresUnusable(
            f"{self._home / 'lock'} cannot be {what}: {error.strerror}."
            " Choose a data directory on a local disk that smsd may write to."
        )
