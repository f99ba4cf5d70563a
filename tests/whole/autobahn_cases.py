"""The Autobahn project's cases for WebSocket servers, run by PyPI's kosoku against our links."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon import PATIENCE, bare_environment, deadline

ECHO = Path(__file__).with_name("echo.py")
KOSOKU = str(Path(sys.executable).parent / "kosoku")
#: What a case may come to when nothing is wrong. "Informational" judges nothing.
GOOD = ("OK", "INFORMATIONAL")


@contextmanager
def echo(scratch: Path, *options: str) -> Iterator[str]:
    """The URL of an echo with production's links; afterwards it has nothing to complain of."""
    log = scratch / "echo.log"
    argv = [sys.executable, str(ECHO), *options]
    with (
        log.open("wb") as complaints,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=complaints, text=True, env=bare_environment()
        ) as process,
    ):
        assert process.stdout is not None
        try:
            with deadline(process):
                port = process.stdout.readline().strip()
            yield f"ws://127.0.0.1:{port}/websocket"
        finally:
            process.kill()
    assert log.read_text() == ""


def verdicts(url: str, scratch: Path, *cases: str) -> dict[str, tuple[str, str]]:
    """What became of each case: of its messages, and of how it was closed."""
    subprocess.run(
        [KOSOKU, url, "-p", "2", "-o", str(scratch), *(f"--include={case}" for case in cases)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=3 * PATIENCE,
        check=False,  # it is the report that counts
    )
    (found,) = json.loads((scratch / "index.json").read_text()).values()
    return {case: (one["behavior"], one["behaviorClose"]) for case, one in found.items()}


def not_good(found: dict[str, tuple[str, str]]) -> set[str]:
    return {case for case, verdict in found.items() if not set(verdict) <= set(GOOD)}
