"""Follows a page word by word on a machine of its own: ``follower.py CHECKOUT < BLOCKS``.

The machine is this one with other directories where the page writes to, with no network but its
own loopback once things are installed, and with no process left when the follower has ended.
BLOCKS are the page's, as a list in JSON; what was found is told as an object in JSON, last of all.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from confined import BIND, PRIVATE, RECURSIVE, memory, mount
from probe import tried
from standins import PATIENCE, PROGRAMS, main_process

NEW_NETWORK = 0x40000000
PHONE = Path("/run/phone")
#: What the page's names are on this machine.
HOSTS = "127.0.0.1 localhost sms.example.org\n"


def furnish() -> None:
    """Directories of our own, with what is in the machine's where somebody needs it."""
    mount("none", "/", PRIVATE | RECURSIVE)
    memory("/run")
    for place in ("/etc", "/var/lib/dpkg"):
        Path("/run/copied", place[1:]).mkdir(parents=True)
        subprocess.run(["cp", "-a", f"{place}/.", f"/run/copied{place}"], check=True)
    memory("/mnt")
    for place in Path("/opt").iterdir():  # where somebody may keep what pip wants
        Path("/mnt", place.name).mkdir()
        mount(str(place), f"/mnt/{place.name}", BIND)
    mount("/mnt", "/opt", BIND | RECURSIVE)
    Path("/opt/smsd").mkdir()
    memory("/opt/smsd")
    memory("/var")
    for place in ("lib/nginx", "log/nginx", "tmp", "lib/dpkg"):
        Path("/var", place).mkdir(parents=True)
    for place in ("/etc", "/var/lib/dpkg"):
        mount(f"/run/copied{place}", place, BIND)
    Path("/etc/hosts").write_text(HOSTS)
    stand_in()


def stand_in() -> None:
    place = Path("/run/bin")
    place.mkdir()
    for name in PROGRAMS:
        program = Path(__file__).with_name("standins.py")
        (place / name).write_text(f'#!/bin/sh\nexec {sys.executable} {program} {name} "$@"\n')
        (place / name).chmod(0o755)
    os.environ["PATH"] = f"{place}:{os.environ['PATH']}:/usr/sbin"


class Loopback:
    """A network of our own, and the way back into the machine's, where pip finds packages."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        assert self._libc.unshare(NEW_NETWORK) == 0
        self._inside = os.open("/proc/self/ns/net", os.O_RDONLY)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def follow(self, block: str) -> str:
        """What the lines say on their standard output."""
        if "pip install" not in block:
            return follow(block)
        return "".join(self._follow_one(line) for line in block.splitlines())

    def _follow_one(self, line: str) -> str:
        if "pip install" in line:
            assert self._libc.setns(self._outside, NEW_NETWORK) == 0
        try:
            return follow(line)
        finally:
            assert self._libc.setns(self._inside, NEW_NETWORK) == 0


def follow(block: str) -> str:
    print(block, file=sys.stderr, flush=True)
    command = ["bash", "-euo", "pipefail", "-c", block]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def be_a_phone(block: str) -> None:
    with PHONE.open("wb") as screen:
        subprocess.Popen(["bash", "-euc", block], stdin=subprocess.PIPE, stdout=screen)
    shown_by_phone("connected")


def shown_by_phone(words: str) -> None:
    end = time.monotonic() + PATIENCE
    while words not in PHONE.read_text():
        assert time.monotonic() < end, PHONE.read_text()
        os.sched_yield()


def until_sent(block: str) -> str:
    """A reader of the page takes longer than the gateway."""
    end = time.monotonic() + PATIENCE
    while '"status":"sent"' not in (said := follow(block)):
        assert time.monotonic() < end, said
    return said


def weight(of: str) -> int:
    """MiB of all processes with this in their command; what they share is counted once."""
    found = 0
    for entry in Path("/proc").glob("[0-9]*"):
        if of in tried(lambda entry=entry: (entry / "cmdline").read_text()):
            lines = (entry / "smaps_rollup").read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found >> 10


def main(checkout: str, blocks: list[str]) -> None:
    furnish()
    os.chdir(checkout)
    told = {}
    machine = Loopback()
    for block in blocks:
        if "smsd phone" in block:
            told["MiB"] = weight("smsd\0run")
            be_a_phone(block)
        elif "/messages/" in block:
            shown_by_phone("sent through nginx")
            told["page"] = until_sent(block)
        else:
            machine.follow(block)
    told["account"] = Path(f"/proc/{main_process()}").stat().st_uid
    told["nginx"] = Path("/var/log/nginx/smsd.log").read_text()
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
