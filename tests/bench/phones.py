"""The phones of a measurement: a process of `bench.flock`, told when to come and when to go."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Self

from bench.sides import SECRET


class Driven:
    """A process that stands for many clients of some orgs in turn, and does what it is told."""

    def __init__(self, program: str, port: int, count: int, orgs: int) -> None:
        said = [str(port), SECRET, str(orgs), str(count)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", program, *said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error == (None, None, None):
                self.end()
        finally:
            self.kill()

    def do(self, word: str) -> Any:
        """What it tells when it has done so."""
        self.tell(word)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the clients have ended before their time")
        return json.loads(line)

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Hang up and let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def kill(self) -> None:
        """However it stands with them."""
        self._process.kill()
        self._process.wait()


class Phones(Driven):
    """So many, of some orgs in turn."""

    def __init__(self, port: int, count: int, orgs: int) -> None:
        super().__init__("bench.flock", port, count, orgs)

    def come(self) -> float:
        """Seconds until the last of them was greeted."""
        return float(self.do("come")["seconds"])

    def go(self) -> None:
        self.tell("go")


def phones(port: int, count: int = 1, orgs: int = 1) -> Phones:
    """Not yet connected; gone at the end of a ``with`` block."""
    return Phones(port, count, orgs)
