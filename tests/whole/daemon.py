"""The daemon as a process: started as a user starts it, watched, and stopped by its pid.

Whoever uses one leaves it with its log read: no traceback, nothing that is secret.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from canaries import canaries

#: Seconds; far more than anything here takes on an idle machine.
PATIENCE = 40.0
RUN = (sys.executable, "-m", "smsd", "run")
TWISTD = (
    str(Path(sys.executable).parent / "twistd"),
    *("--nodaemon", "--pidfile=", "--logger=smsd.logs.observer", "smsd"),
)
#: The last thing that a newcomer reads when the gateway is up.
LAST_WORDS = "  SMSD_SECRET="


def roomy_directory() -> Path:
    """A fresh directory, in memory where there is some, which any user may pass."""
    memory = os.access("/dev/shm", os.W_OK)
    path = Path(tempfile.mkdtemp(prefix="smsd-whole-", dir="/dev/shm" if memory else None))
    path.chmod(0o711)
    return path


def bare_environment(**more: str) -> dict[str, str]:
    """Our own environment without any setting of smsd's."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SMSD_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **more}


class Daemon:
    """One gateway; its data and its log stay in ``home`` from one life to the next."""

    def __init__(
        self,
        home: Path,
        *argv: str,
        port: int = 0,
        command: Sequence[str] = RUN,
        environ: Mapping[str, str] = {},
    ) -> None:
        self.home = home
        self.data = home / "data"
        self.said = ""
        self.url = ""
        #: What its log may say as an error, since a test brings it about.
        self.excused: list[str] = []
        self.log = home / f"log.{len(list(home.glob('log.*')))}"
        listen = f"tcp:{port}:interface=127.0.0.1"
        self.argv = [*command, "--listen", listen, "--data-dir", str(self.data)]
        self.argv += ["--log-level", "debug", *argv]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=home,
                env=bare_environment(**environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Daemon:
        return self.ready()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        code = self.process.returncode
        if code is None:
            code = self.stop() if kind is None else self.kill()
        self._close()
        if kind is None:
            assert code in self._good_ends, self.log.read_text()
            self.check_log()

    @property
    def _good_ends(self) -> tuple[int, ...]:
        """Killed is what a test does; twistd ends with the signal that ended it."""
        under_twistd = self.argv[0] == TWISTD[0]
        return (0, -signal.SIGKILL, *([-signal.SIGTERM] if under_twistd else []))

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def socket_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/websocket"

    def ready(self) -> Daemon:
        """Once it has told where it is."""
        assert self.process.stdout is not None
        with deadline(self.process):
            for line in self.process.stdout:
                self.said += line
                if found := re.match(r"  what it is +(http://\S+)/$", line):
                    self.url = found[1]
                if line.startswith(LAST_WORDS):
                    return self
        self._close()
        raise AssertionError(f"the gateway did not start:\n{self.said}{self.log.read_text()}")

    def ended(self, within: float = PATIENCE) -> tuple[int, str]:
        """Its exit code, and all that it wrote; for a start that must fail."""
        code = self.process.wait(within)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        self._close()
        return code, self.said + self.log.read_text()

    def stop(self, within: float = 10.0) -> int:
        """Ask it to end, as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def kill(self) -> int:
        """End it as the kernel does when memory is short."""
        self.process.kill()
        return self.process.wait(PATIENCE)

    def postgres(self) -> int:
        """The pid of its private Postgres."""
        return int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])

    def events(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def check_log(self) -> None:
        """No traceback, nothing graver than a warning, and nothing that is nobody's business."""
        log = self.log.read_text()
        assert [line for line in log.splitlines() if "Traceback" in line] == []
        assert [event for event in self.events() if self._is_grave(event)] == []
        assert canaries.found_in(log + self.said) == []

    def _is_grave(self, event: dict[str, Any]) -> bool:
        excused = any(event["msg"].startswith(words) for words in self.excused)
        return event["level"] in ("error", "critical") and not excused

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def deadline(process: subprocess.Popen[str], seconds: float = PATIENCE) -> Iterator[None]:
    """Ends a process that is silent for too long, so that whoever reads it goes on."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def new_home() -> Iterator[Path]:
    """A directory for a gateway; when it is given back no process may be left on it."""
    home = roomy_directory()
    try:
        yield home
        assert processes_on(home) == []
    finally:
        shutil.rmtree(home, ignore_errors=True)


def processes_on(home: Path) -> list[int]:
    """Every process that works in this directory or was told of it."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_on(entry, home)]


def _is_on(entry: Path, home: Path) -> bool:
    try:
        told = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        return str(home) in told or (entry / "cwd").resolve().is_relative_to(home)
    except OSError:  # it has ended meanwhile
        return False


def wait_for_end(pid: int, within: float = PATIENCE) -> None:
    """Until this process is gone, whoever's child it is."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], within)[0], f"process {pid} does not end"
    finally:
        os.close(process)
