"""System call filters as systemd makes them of a unit's directives, by the same library.

Each directive is a filter of its own, and all of them are asked for each call. They hold for the
calling process and all that it starts, for ever.
"""

from __future__ import annotations

import ctypes
import errno
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NE, _EQ, _GE, _GT, _MASKED = 1, 4, 5, 6, 7
SETUID, SETGID = 0o4000, 0o2000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
#: The namespaces that clone(2), unshare(2) and setns(2) can make or enter.
NAMESPACES = 0x7E020000


class _Compare(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class Filter:
    """What becomes of system calls: ``otherwise``, or what a rule says."""

    def __init__(self, otherwise: int = _ALLOW) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._made = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, name: str, action: int, *compare: tuple[int, int, int, int]) -> None:
        """For the call of this name, where its arguments compare so."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # of another architecture
            return
        array = (_Compare * len(compare))(*(_Compare(*one) for one in compare))
        code = self._library.seccomp_rule_add_array(
            self._made, ctypes.c_uint32(action), number, len(compare), array
        )
        assert code == 0, (name, code)

    def load(self) -> None:
        code = self._library.seccomp_load(self._made)
        assert code == 0, code


def refusing(error: int) -> int:
    return _ERRNO | error


# -- one for each directive --


def only_calls(words: Iterable[str]) -> Filter:
    """`SystemCallFilter`: the groups of the first line without those of later ones that begin
    with ~."""
    allowed: set[str] = set(calls_of("@default"))
    for line in words:
        named = {call for group in line.lstrip("~").split() for call in calls_of(group)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    made = Filter(refusing(errno.EPERM))
    for name in sorted(allowed):
        made.add(name, _ALLOW)
    return made


def calls_of(group: str) -> set[str]:
    """What systemd itself says is in a group, and in the groups in it."""
    if not group.startswith("@"):
        return {group}
    command = ["systemd-analyze", "--no-pager", "syscall-filter", group]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^ +([@\w-]+)$", told, re.MULTILINE)
    return {call for name in names for call in calls_of(name)}


def only_families(words: Sequence[str]) -> Filter:
    """`RestrictAddressFamilies`."""
    made, allowed = Filter(), sorted(FAMILIES[word] for line in words for word in line.split())
    refused = refusing(errno.EAFNOSUPPORT)
    for number in set(range(allowed[-1])) - set(allowed):
        made.add("socket", refused, (0, _EQ, number, 0))
    made.add("socket", refused, (0, _GT, allowed[-1], 0))
    return made


def no_namespaces(_: Sequence[str]) -> Filter:
    """`RestrictNamespaces`."""
    made, refused = Filter(), refusing(errno.EPERM)
    made.add("unshare", refused)
    made.add("setns", refused)
    made.add("clone3", refusing(errno.ENOSYS))  # its flags cannot be seen
    for bit in (1 << n for n in range(32) if NAMESPACES >> n & 1):
        made.add("clone", refused, (0, _MASKED, bit, bit))
    return made


def no_realtime(_: Sequence[str]) -> Filter:
    """`RestrictRealtime`: SCHED_OTHER, BATCH and IDLE are left."""
    made = Filter()
    for policy in (1, 2, 4, 6):
        made.add("sched_setscheduler", refusing(errno.EPERM), (1, _EQ, policy, 0))
    made.add("sched_setscheduler", refusing(errno.EPERM), (1, _GE, 7, 0))
    return made


def no_set_id_bits(_: Sequence[str]) -> Filter:
    """`RestrictSUIDSGID`."""
    made, refused = Filter(), refusing(errno.EPERM)
    at = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "mkdir": 1, "mkdirat": 2, "creat": 1}
    at |= {"mknod": 1, "mknodat": 2, "open": 2, "openat": 3}
    for name, argument in at.items():
        for bit in (SETUID, SETGID):
            made.add(name, refused, (argument, _MASKED, bit, bit))
    made.add("openat2", refusing(errno.ENOSYS))
    return made


def no_personality(_: Sequence[str]) -> Filter:
    """`LockPersonality`: 0 is the one that it has."""
    made = Filter()
    made.add("personality", refusing(errno.EPERM), (0, _NE, 0, 0))
    return made


def without(*groups: str) -> Callable[[Sequence[str]], Filter]:
    """A directive that takes these calls away."""

    def made_of(_: Sequence[str]) -> Filter:
        made = Filter()
        for name in sorted({call for group in groups for call in calls_of(group)}):
            made.add(name, refusing(errno.EPERM))
        return made

    return made_of


#: In the order in which they are loaded: the last one forbids to load more.
FILTERS: dict[str, Callable[[Sequence[str]], Filter]] = {
    "RestrictAddressFamilies": only_families,
    "RestrictNamespaces": no_namespaces,
    "RestrictRealtime": no_realtime,
    "RestrictSUIDSGID": no_set_id_bits,
    "LockPersonality": no_personality,
    "ProtectClock": without("@clock"),
    "ProtectHostname": without("sethostname", "setdomainname"),
    "ProtectKernelLogs": without("syslog"),
    "ProtectKernelModules": without("@module"),
    "PrivateDevices": without("@raw-io"),
    "SystemCallFilter": only_calls,
}
