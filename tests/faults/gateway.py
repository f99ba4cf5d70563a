"""The gateway under test: a real process, started again at once whenever it ends.

Its log stays in one file from life to life; what it says of bugs is counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from faults.journal import Journal

#: Below the ports that the system gives to callers: nobody takes ours while it is down.
PORTS = range(15_000, 32_000)
#: Far longer than anything here takes. Seconds.
PATIENCE = 30.0

ROOT = Path(__file__).parents[2]


class Gateway:
    """``smsd run`` on a database, with these further flags."""

    def __init__(self, home: Path, journal: Journal, conninfo: str, sabotage: str = "") -> None:
        self.home = home
        self.port = _free_port()
        self.log = home / "gateway.log"
        self.conninfo = conninfo
        self.flags: list[str] = []
        self.hurry = 1.0
        self._sabotage = sabotage
        self._journal = journal
        self._orders = home / "orders"
        self._process: asyncio.subprocess.Process | None = None
        self._ended = asyncio.Event()
        self._supervision: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was never started"
        return self._process.pid

    def start(self) -> None:
        """And again whenever it ends, until `close`."""
        self._journal.down(killed=False)
        self._supervision = asyncio.create_task(self._supervise())

    async def close(self) -> None:
        """At once, and no start after it."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def serving(self) -> None:
        """Until a request has been accepted since the last end."""
        try:
            await asyncio.wait_for(self._journal.serving.wait(), PATIENCE)
        except TimeoutError:
            told = self.log.read_text(errors="replace")[-2000:]
            raise AssertionError(f"the gateway does not serve:\n{told}") from None

    async def become(self, flags: Sequence[str], hurry: float, *, anew: bool) -> None:
        """An orderly stop and a start, where it has other settings or must be a new process."""
        if anew or (self.flags, self.hurry) != (list(flags), hurry):
            self.flags, self.hurry = list(flags), hurry
            await self.terminate()
        await self.serving()

    # -- what a nemesis does to it --

    def kill(self) -> None:
        """At once, in the middle of whatever it does."""
        self._journal.down()
        self._ended.clear()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def terminate(self) -> None:
        """As a service manager does; the supervision starts it again."""
        began = time.monotonic()
        self._journal.down(killed=False)
        self._ended.clear()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        await asyncio.wait_for(self._ended.wait(), PATIENCE)
        self._journal.stopped(time.monotonic() - began)

    def order_death(self, point: str, times: int) -> None:
        """It is to die when it reaches this fail-point for this time."""
        self._ended.clear()
        self._orders.write_text(f"{point} {times}")
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR2)

    async def died(self, within: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            await asyncio.wait_for(self._ended.wait(), within)
        except TimeoutError:
            return False
        return True

    # -- what can be seen of it --

    def memory(self) -> float:
        """What it holds now, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024

    def bugs(self) -> list[str]:
        """What its log says of bugs; the lines below one that is no event belong to it."""
        found: list[str] = []
        grave = False
        with self.log.open(errors="replace") as log:
            for line in log:
                event = line.startswith("{")
                if "Traceback" in line or (event and '"level":"critical"' in line):
                    found.append(line)
                    grave = not event
                elif grave and not event:
                    found[-1] += line
                else:
                    grave = False
        return found

    # -- its life --

    async def _supervise(self) -> None:
        while True:
            await self._launch()
            assert self._process is not None
            await self._process.wait()
            if self._journal.serving.is_set():  # by itself, or by a fuse
                self._journal.down()
            self._ended.set()

    async def _launch(self) -> None:
        argv = [sys.executable, "-m", "faults.failing", "--orders", str(self._orders)]
        argv += ["--hurry", str(self.hurry)]
        argv += ["--sabotage", self._sabotage] if self._sabotage else []
        argv += ["--", "run", "--listen", f"tcp:{self.port}:interface=127.0.0.1"]
        argv += ["--hooks-allow", "127.0.0.0/8"]
        argv += ["--data-dir", str(self.home / "data"), "--database", self.conninfo, *self.flags]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SMSD_")}
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.home,
                env={**inherited, "PYTHONPATH": path},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )


def _free_port() -> int:
    chance = Random()
    while True:
        port = chance.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
