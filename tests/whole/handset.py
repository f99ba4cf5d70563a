"""``smsd phone`` as a process, as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

from daemon import bare_environment, deadline


class Handset:
    """``smsd phone`` as a newcomer runs it."""

    def __init__(self, url: str, org_id: str, secret: str, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "smsd", "phone", "--org", org_id, "--url", url, *argv],
            env=bare_environment(SMSD_SECRET=secret, PYTHONUTF8="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Handset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def shows(self, words: str) -> str:
        """The next line with these words."""
        return self.shows_until(words).splitlines(keepends=True)[-1]

    def shows_until(self, words: str) -> str:
        """All lines up to the next one with these words."""
        assert self._process.stdout is not None
        seen = []
        with deadline(self._process):
            for line in self._process.stdout:
                seen.append(line)
                if words in line:
                    return "".join(seen)
        raise AssertionError(f"{words!r} is not in {seen}")

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
