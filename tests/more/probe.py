"""Tries what a unit forbids, and tells in JSON what came of each try: the name of an error, or
what was found. Run by `confined`, in the state's directory."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)


def tried(attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def called(name: str, *arguments: Any) -> Callable[[], str]:
    """A call of the C library that must say no."""

    def attempt() -> str:
        if getattr(_libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)
        return "done"

    return attempt


def status(key: str) -> str:
    found = re.search(rf"^{key}:\s+(\S+)", Path("/proc/self/status").read_text(), re.M)
    return found[1] if found else ""


def is_read_only(place: str) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def set_id_bit() -> str:
    Path("program").touch()
    os.chmod("program", 0o4755)
    return "done"


def of(family: int) -> Callable[[], str]:
    def attempt() -> str:
        socket.socket(family, socket.SOCK_DGRAM).close()
        return "done"

    return attempt


TRIES: dict[str, Callable[[], Any]] = {
    "account": os.getuid,
    "groups": os.getgroups,
    "effective capabilities": lambda: int(status("CapEff"), 16),
    "capabilities ever": lambda: int(status("CapBnd"), 16),
    "no new privileges": lambda: status("NoNewPrivs"),
    "users known": lambda: len(Path("/proc/self/uid_map").read_text().splitlines()),
    "read-only": lambda: [place for place in ("/", "/etc", "/usr", "/var") if is_read_only(place)],
    "own directory": lambda: Path("written").write_text("x"),
    "homes": lambda: os.listdir("/home"),
    "the caller's temporary file": lambda: Path(sys.argv[1]).exists(),
    "own temporary file": lambda: Path("/tmp/mine").write_text("x"),
    "devices": lambda: sorted(os.listdir("/dev")),
    "other processes": lambda: [n for n in os.listdir("/proc") if n.isdigit() and int(n) == 1],
    "the kernel's own": lambda: [
        n for n in ("sys", "kcore", "meminfo") if Path("/proc", n).exists()
    ],
    "another family": of(socket.AF_NETLINK),
    "packets": of(socket.AF_PACKET),
    "the internet": of(socket.AF_INET6),
    "a namespace": called("unshare", 0x10000000),
    "a mount": called("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    "a set-uid program": set_id_bit,
    "another personality": called("personality", ctypes.c_ulong(0x0040000)),
    "the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "the host's name": called("sethostname", b"x", 1),
    "another account": lambda: os.setuid(0),
    "another priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 19),
    "the kernel's log": called("klogctl", 3, ctypes.create_string_buffer(9), 9),
    "files": lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 65536,
    "a core": lambda: resource.getrlimit(resource.RLIMIT_CORE)[1],
    "processes": lambda: resource.getrlimit(resource.RLIMIT_NPROC)[1],
    "own place": lambda: [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "uts", "mnt")],
}

if __name__ == "__main__":
    print(json.dumps({name: tried(attempt) for name, attempt in TRIES.items()}))
