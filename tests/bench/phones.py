"""The phones of a measurement: a process of `bench.flock`, told when to come and when to go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.sides import SECRET


class Phones:
    """So many, of some orgs in turn."""

    def __init__(self, port: int, count: int, orgs: int) -> None:
        said = [str(port), SECRET, str(orgs), str(count)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.flock", *said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def come(self) -> float:
        """Seconds until the last of them was greeted."""
        self._tell("come")
        return float(self._told()["seconds"])

    def go(self) -> None:
        self._tell("go")

    def end(self) -> None:
        """Hang up and let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def kill(self) -> None:
        """However it stands with them."""
        self._process.kill()
        self._process.wait()

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def _told(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the phones have ended before their time")
        return json.loads(line)


@contextmanager
def phones(port: int, count: int = 1, orgs: int = 1) -> Iterator[Phones]:
    """Not yet connected; gone at the end."""
    flock = Phones(port, count, orgs)
    try:
        yield flock
        flock.end()
    finally:
        flock.kill()
