"""What processes used, as /proc tells: CPU time and memory of whole families."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.processes import children_of

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU that the server under test and Postgres have used so far."""

    daemon: float
    postgres: float

    def a_message(self, before: Cost, messages: float) -> dict[str, float]:
        """Microseconds for each of the messages that came since ``before``."""
        each = 1e6 / messages if messages else 0.0
        return {
            "daemon us": (self.daemon - before.daemon) * each,
            "Postgres us": (self.postgres - before.postgres) * each,
        }


def family(pid: int) -> list[int]:
    """A process and all that come of it."""
    return [pid, *(each for child in children_of(pid) for each in family(child))]


def cpu(pid: int) -> float:
    """Seconds of CPU of a process, of its children, and of those that have ended."""
    used = [_times(each) for each in family(pid)]
    return (sum(map(sum, used)) + sum(_times(pid, ended=True))) / _TICKS


def memory(pid: int) -> float:
    """KiB of a family; what several of them share is counted once."""
    return sum(_proportional(each) for each in family(pid))


def _times(pid: int, *, ended: bool = False) -> Sequence[int]:
    """User and system time; of its ``ended`` children instead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return (0, 0)
    at = 13 if ended else 11
    return [int(field) for field in fields[at : at + 2]]


def _proportional(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:"))
