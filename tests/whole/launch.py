"""Starts smsd as systemd would: without some of the flags that tests give, and with a socket that
somebody else listens on as its descriptor 3.

``launch.py`` is told by its environment: DROPPED are flags to leave out, HELD_AT is where the
socket can be fetched (see `manager.Holder`).
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    dropped, held_at = os.environ.pop("DROPPED", "").split(), os.environ.pop("HELD_AT", "")
    if held_at:
        take(held_at)
    argv = sys.argv[1:]
    for flag in dropped:
        at = argv.index(flag)
        del argv[at : at + 2]
    os.execv(sys.executable, [sys.executable, "-m", "smsd", "run", *argv])


def take(held_at: str) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(held_at)
        _, (held,), _, _ = socket.recv_fds(line, 1, 1)
    os.dup2(held, 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")


main()
