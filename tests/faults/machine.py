"""What a result was found on: the machine, the programs, the day and the command."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from smsd import __version__

ROOT = Path(__file__).parents[2]


def described(postgres: str, command: str) -> Iterator[tuple[str, str]]:
    """A line for each thing that a reader would ask after."""
    yield "date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    yield "command", f"`{command}`"
    yield "smsd", f"{__version__}, commit {_commit()}"
    yield "processor", f"{_processor()}, {os.cpu_count()} cores"
    yield "memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    yield "kernel", f"{platform.system()} {platform.release()}"
    yield "Python", sys.version.split()[0]
    yield "PostgreSQL", postgres


def _commit() -> str:
    """Pages do not count as changes: one that is written as it grows would call itself dirty."""
    commit = _git("rev-parse", "--short", "HEAD").stdout.strip()
    changed = _git("diff", "--quiet", "HEAD", "--", ":(exclude)docs").returncode
    return f"{commit}-dirty" if commit and changed else commit or "unknown"


def _git(*asked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *asked], cwd=ROOT, capture_output=True, text=True, check=False)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
