"""Other people's processes as /proc shows them: whose child each is, what it calls itself."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def send(pid: int, number: signal.Signals) -> None:
    """The signal, where the process is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def title(pid: int) -> bytes:
    """Its command line, which Postgres' processes write anew; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def children_of(parent: int) -> list[int]:
    numbers = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return [pid for pid in numbers if _stat(pid)[1:2] == [str(parent)]]


def _stat(pid: int) -> list[str]:
    """What follows the name: its state, its parent, and more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
