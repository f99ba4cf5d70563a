"""Requests as fast as they are answered, by wrk, over connections that stay open."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.sides import SECRET, Running

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Load:
    """What wrk saw. Times in milliseconds."""

    requests: int
    seconds: float
    refused: int
    lost: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def figures(self) -> dict[str, float]:
        return {"a second": self.rate, "p50 ms": self.p50, "p99 ms": self.p99}


def wanted() -> None:
    """Ends the program where there is no wrk."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk makes the load, and is not there: apt-get install wrk")


def load(
    one: Running, kind: str, *, clients: int, seconds: float, orgs: int = 1, since: int = 0
) -> Load:
    """``webhook``, ``send`` or ``poll`` from so many clients; an answer that is no 200 ends it."""
    # wrk counts whole seconds.
    told = ["-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "-s", str(_SCRIPT)]
    said = [kind, SECRET, str(orgs), str(since), str(time.time_ns())]
    ran = subprocess.run(
        ["wrk", *told, f"http://127.0.0.1:{one.port}", "--", *said],
        capture_output=True,
        text=True,
        check=True,
    )
    found = Load(**json.loads(ran.stdout.splitlines()[-1]))
    if found.refused or found.lost or not found.requests:
        raise SystemExit(f"{one.side.name} under {kind}: {found}")
    return found
