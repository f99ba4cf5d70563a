"""Starts a program under the limits of a unit, as systemd does, without systemd as process 1.

``confined.py UNIT STATE [SHOWN ...] -- PROGRAM [ARGUMENT ...]``, as root. STATE is the directory
that the program may write to and is given; each SHOWN is readable although it lies in a directory
that the unit hides. The process stays the same, so that whoever started it can signal it.

What is a matter of control groups, of which this process is not the owner, is in `UNTRIED`.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from syscalls import FILTERS

#: Of those that systemd gives to services with an account of their own (61184 to 65519).
ACCOUNT = 61234
UNTRIED = {
    "DevicePolicy": "a matter of control groups; there are no other devices in /dev anyway",
    "MemoryMax": "a matter of control groups",
    "RemoveIPC": "done by systemd after the end",
    "KeyringMode": "the program keeps nothing in a keyring",
    "AmbientCapabilities": "there are none to be handed on: the bounding set is empty",
    "SystemCallArchitectures": "so does libseccomp where it is not told otherwise",
    "SystemCallErrorNumber": "part of SystemCallFilter",
    "PrivateMounts": "there is a mount namespace anyway",
}
READ_ONLY, NO_SET_ID, REMOUNT, BIND = 1, 2, 32, 4096
RECURSIVE, PRIVATE, DETACH = 1 << 14, 1 << 18, 2
_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000
_DROP_FROM_BOUNDING_SET, _NO_NEW_PRIVILEGES = 24, 38
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def directives(unit: Path) -> dict[str, list[str]]:
    """What each key of [Service] is set to."""
    found: dict[str, list[str]] = {}
    _, _, service = unit.read_text().partition("[Service]")
    for name, value in re.findall(r"^([A-Z]\w+)=(.*)$", service.partition("\n[")[0], re.M):
        found.setdefault(name, []).append(value)
    return found


def main(argv: Sequence[str]) -> None:
    at = argv.index("--")
    unit, state, *shown = map(Path, argv[:at])
    told = directives(unit)
    _check(_libc.unshare(_NEWNS))
    mount("none", "/", PRIVATE | RECURSIVE)
    files = View(state, shown)
    for name in VIEWS:
        if name in told:
            VIEWS[name](files)
    files.seal()
    for name in LIMITS:
        if name in told:
            LIMITS[name](told[name][0])
    os.environ.update(HOME=str(state), TMPDIR="/tmp")
    os.chdir(state)
    os.umask(0o077)
    become_nobody_special()
    for name in FILTERS:
        if name in told:
            FILTERS[name](told[name]).load()
    os.execv(argv[at + 1], argv[at + 1 :])


class View:
    """The files that the program sees."""

    def __init__(self, state: Path, shown: Sequence[Path]) -> None:
        # By their descriptors they can be found also when something lies over them.
        self._kept = [(path, os.open(path, os.O_PATH)) for path in (state, *shown)]
        self._state = state

    def as_it_is(self) -> None:
        """A directive that is not about files."""

    def known_account(self) -> None:
        """`DynamicUser`: the account has a name, as by nss-systemd."""
        for file in ("/etc/passwd", "/etc/group"):
            line = f"smsd:x:{ACCOUNT}:{ACCOUNT}" if "group" not in file else f"smsd:x:{ACCOUNT}"
            memory("/mnt")
            Path("/mnt/file").write_text(f"{Path(file).read_text()}{line}:::\n")
            mount("/mnt/file", file, BIND)
            _check(_libc.umount2(b"/mnt", DETACH))

    def read_only(self) -> None:
        """`ProtectSystem=strict`: all but what is the kernel's own."""
        for target in mounted():
            if not target.startswith(("/dev", "/proc", "/sys")):
                mount("none", target, REMOUNT | BIND | READ_ONLY)

    def without_homes(self) -> None:
        """`ProtectHome`."""
        for place in ("/home", "/root", "/run/user"):
            if Path(place).is_dir():
                memory(place)

    def own_temporary(self) -> None:
        """`PrivateTmp`."""
        for place in ("/tmp", "/var/tmp"):
            memory(place, "mode=1777")

    def few_devices(self) -> None:
        """`PrivateDevices`."""
        found = {name: os.open(f"/dev/{name}", os.O_PATH) for name in _DEVICES}
        memory("/dev")
        for name, descriptor in found.items():
            Path("/dev", name).touch()
            mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", BIND)
            os.close(descriptor)
        Path("/dev/shm").mkdir()
        memory("/dev/shm", "mode=1777")

    def own_processes(self) -> None:
        """`ProtectProc=invisible`, `ProcSubset=pid`: no others, and nothing but processes."""
        mount("proc", "/proc", kind="proc", options="subset=pid,hidepid=invisible")

    def fixed_kernel(self) -> None:
        """`ProtectKernelTunables`, `ProtectControlGroups`."""
        for target in mounted():
            if target.startswith("/sys"):
                mount("none", target, REMOUNT | BIND | READ_ONLY)

    def seal(self) -> None:
        """The state and what is shown are where they were; only the state can be written to."""
        for path, descriptor in self._kept:
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{descriptor}", str(path), BIND)
            mount("none", str(path), REMOUNT | BIND | (0 if path == self._state else READ_ONLY))
            os.close(descriptor)
        for entry in (self._state, *self._state.rglob("*")):
            os.chown(entry, ACCOUNT, ACCOUNT, follow_symlinks=False)


#: In their order: what is new lies over what is read-only.
VIEWS: dict[str, Callable[[View], None]] = {
    "DynamicUser": View.known_account,
    "ProtectSystem": View.read_only,
    "ProtectHome": View.without_homes,
    "PrivateTmp": View.own_temporary,
    "PrivateDevices": View.few_devices,
    "ProcSubset": View.own_processes,
    "ProtectProc": View.as_it_is,  # with ProcSubset
    "ProtectKernelTunables": View.fixed_kernel,
    "ProtectControlGroups": View.as_it_is,  # with ProtectKernelTunables
}


def mount(source: str, target: str, flags: int = 0, kind: str = "", options: str = "") -> None:
    """mount(2); the program of this name would look through the paths that we need."""
    words = (word.encode() for word in (source, target, kind))
    _check(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()))


def memory(target: str, options: str = "mode=755") -> None:
    """An empty directory."""
    mount("none", target, NO_SET_ID, "tmpfs", options)


def mounted() -> list[str]:
    """Where something is mounted that nothing else lies over."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [target for line in lines if os.path.ismount(target := line.split()[4])]


def limit(which: int) -> Callable[[str], None]:
    def lower(value: str) -> None:
        hard = resource.getrlimit(which)[1]
        most = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(which, (most, most))

    return lower


def own_namespace(flag: int) -> Callable[[str], None]:
    return lambda _: _check(_libc.unshare(flag))


def lose_capabilities(value: str) -> None:
    """`CapabilityBoundingSet=`, which is empty."""
    assert value == "", value
    for capability in range(64):
        with suppress(OSError):  # no such one in this kernel
            _check(_libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0))


def own_users(_: str) -> None:
    """`PrivateUsers`: root, the account, and nobody else."""
    ready, done = os.pipe(), os.pipe()
    parent = os.getpid()
    if (child := os.fork()) == 0:
        os.read(ready[0], 1)
        for kind in ("uid", "gid"):
            Path(f"/proc/{parent}/{kind}_map").write_text(f"0 0 1\n{ACCOUNT} {ACCOUNT} 1\n")
        os.write(done[1], b".")
        os._exit(0)
    _check(_libc.unshare(_NEWUSER))
    os.write(ready[1], b".")
    assert os.read(done[0], 1) == b"."
    os.waitpid(child, 0)
    for end in (*ready, *done):
        os.close(end)


#: In their order: who comes into a user namespace has every capability there.
LIMITS: dict[str, Callable[[str], None]] = {
    "LimitCORE": limit(resource.RLIMIT_CORE),
    "LimitNOFILE": limit(resource.RLIMIT_NOFILE),
    "TasksMax": limit(resource.RLIMIT_NPROC),  # of the account, which is the service's alone
    "PrivateIPC": own_namespace(_NEWIPC),
    "ProtectHostname": own_namespace(_NEWUTS),
    "PrivateUsers": own_users,
    "CapabilityBoundingSet": lose_capabilities,
    "NoNewPrivileges": lambda _: _check(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)),
}


def become_nobody_special() -> None:
    """`DynamicUser`."""
    os.setgroups([])
    os.setresgid(ACCOUNT, ACCOUNT, ACCOUNT)
    os.setresuid(ACCOUNT, ACCOUNT, ACCOUNT)


def _check(code: int) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(sys.argv[1:])
