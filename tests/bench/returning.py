"""Everybody comes back: a gateway that was killed is started again, and all its phones are there.

Compared with `bench.bare`, which greets and does nothing else: what a return costs beyond its
handshakes is the difference.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figures import Row
from bench.phones import phones
from bench.scenarios import ORGS_OF_PHONES
from bench.sides import PATIENCE, Running, free_port


def back(one: Running, count: int) -> Row:
    """Seconds from the moment that the new life answers until the last phone is greeted."""
    with phones(one.port, count, ORGS_OF_PHONES) as flock:
        flock.come()
        one.stop(signal.SIGKILL)
        flock.go()
        one.start()
        seconds = flock.come()
    return {"seconds": seconds, "handshakes a second": count / seconds}


def bare(count: int) -> Row:
    """The same phones at the bare server."""
    with _bare() as port, phones(port, count, ORGS_OF_PHONES) as flock:
        seconds = flock.come()
    return {"seconds": seconds, "handshakes a second": count / seconds}


@contextmanager
def _bare() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(port)])
    try:
        _see_it_listen(port, process)
        yield port
    finally:
        process.kill()
        process.wait()


def _see_it_listen(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("the bare server does not listen")
