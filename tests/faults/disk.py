"""Two disks of a few megabytes that one Postgres sees and nobody else, to be filled at will.

They are file systems in memory, mounted in a mount namespace of their own: root makes that right
away, an ordinary user inside a user namespace where the machine allows it. A process that keeps
the namespaces ends when we do, however we end, and the disks go with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from smsd.store.account import Account

#: What is there for tables and for the write-ahead log. Bytes.
TABLES, WAL = 96 << 20, 24 << 20
BALLAST = "ballast"
_TOOLS = ("unshare", "nsenter", "setpriv", "mount")


class NoDisk(Exception):
    """This machine lets us have no disk of our own; says why."""


class Disks:
    """Mounted over two directories of ``home``: ``tables`` and ``wal``."""

    def __init__(self, home: Path, account: Account) -> None:
        if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
            raise NoDisk(f"this machine has no {', '.join(missing)}")
        self.tables, self.wal = home / "tables", home / "wal"
        self._account = account
        self._root = os.geteuid() == 0
        for each in (self.tables, self.wal):
            each.mkdir(0o711)
        self._keeper = self._keep()

    def _keep(self) -> subprocess.Popen[str]:
        owner = f"uid={self._account.uid},gid={self._account.gid}" if self._root else "uid=0,gid=0"
        mounts = " && ".join(
            f"mount -t tmpfs -o size={size},mode=0700,{owner} smsd-test '{where}'"
            for where, size in ((self.tables, TABLES), (self.wal, WAL))
        )
        ours = ["unshare", "--mount", "--propagation", "private"]
        ours += [] if self._root else ["--map-root-user"]
        keeper = subprocess.Popen(
            [*ours, "sh", "-c", f"{mounts} && echo mounted && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert keeper.stdout is not None
        said = keeper.stdout.readline().strip()
        if said != "mounted":
            _end(keeper)
            raise NoDisk(f"no file system of our own can be mounted here ({said})")
        return keeper

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that runs this one where the disks are, as the account; the process that
        is started becomes the program."""
        enter = ["nsenter", f"--target={self._keeper.pid}", "--mount"]
        user, group = self._account.uid, self._account.gid
        if self._root:
            become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        else:  # root in the namespace is ourselves, and Postgres never runs as root
            enter += ["--user", "--preserve-credentials"]
            become = ["unshare", "--user", f"--map-user={user}", f"--map-group={group}"]
        return [*enter, "--", *become, "--", *argv]

    def seen(self, path: Path) -> Path:
        """The same path for us, who are outside."""
        return Path(f"/proc/{self._keeper.pid}/root{path}")

    def fill(self, disk: Path) -> None:
        """To the last block."""
        with ExitStack() as stack:
            ballast = os.open(self.seen(disk) / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            stack.callback(os.close, ballast)
            for block in (bytes(1 << 20), bytes(4096)):
                try:
                    while os.write(ballast, block):
                        pass
                except OSError:  # it is full
                    continue

    def free(self, disk: Path) -> None:
        (self.seen(disk) / BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        """When nobody runs inside any more, the disks and all that is on them are gone."""
        _end(self._keeper)


def _end(keeper: subprocess.Popen[str]) -> None:
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.close()
    keeper.wait()
    keeper.stdout.close()
