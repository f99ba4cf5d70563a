"""Whose account Postgres runs under.

An ordinary user's Postgres runs as that user. Root's must not (Postgres refuses, rightly), so
root gives it to an unprivileged account that the machine already has; none is ever made. What
is already somebody's data stays with that account.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsd.store.unusable import PostgresUnusable

#: Looked for in this order when root has not named one.
UNPRIVILEGED = ("smsd", "postgres", "nobody")
VARIABLE = "SMSD_USER"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine; one without a line in passwd is named by its number."""

    name: str
    uid: int
    gid: int

    def can_enter(self, directory: Path) -> bool:
        """Whether this user gets into the directory, judged by the kernel, ACLs and all."""
        try:
            return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)]).returncode == 0
        except OSError as error:
            raise PostgresUnusable(
                f"Nothing can be run as {self.name} here ({error.strerror}):"
                " run smsd as an ordinary user instead of root."
            ) from None

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program that takes a moment, as this user and with nothing of our environment.

        Raises OSError where it cannot be run.
        """
        return subprocess.run(
            argv,
            **self._as_this_user(),
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def _as_this_user(self) -> dict[str, Any]:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": [self.gid]}


def environment() -> dict[str, str]:
    """What a program of Postgres gets to see: none of our secrets, nobody's PG* variables."""
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


def server_account(
    user: str | None = None, *, environ: Mapping[str, str] = os.environ, uid: int | None = None
) -> Account:
    """The account for a new cluster: ourselves, or, for root, an unprivileged one."""
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return _unprivileged(user or environ.get(VARIABLE) or None)
    if user is not None and _named(user) != account_of(uid):
        raise PostgresUnusable(
            f"Only root can run Postgres as somebody else ({user}): leave the user out."
        )
    return account_of(uid)


def keeper(data: Path, user: str | None = None) -> Account:
    """The account that the cluster at ``data`` belongs to, or will where there is none yet."""
    try:
        owner = account_of(data.stat().st_uid)
    except FileNotFoundError:
        return server_account(user)
    asked = user or (os.environ.get(VARIABLE) if os.geteuid() == 0 else None) or owner.name
    if owner.uid == 0:
        raise PostgresUnusable(
            f"{data} belongs to root, and Postgres never runs as root:"
            f" give it to an ordinary user (chown -R {UNPRIVILEGED[-1]} {data})."
        )
    if os.geteuid() not in (0, owner.uid):
        raise PostgresUnusable(
            f"The data in {data} belongs to {owner.name}:"
            " start smsd as that user or as root, or choose another data directory."
        )
    if asked != owner.name and _named(asked) != owner:
        raise PostgresUnusable(
            f"The data in {data} belongs to {owner.name}, not to {asked}:"
            f" ask for {owner.name}, or give it away (chown -R {asked} {data})."
        )
    return owner


def account_of(uid: int) -> Account:
    """The account with this number."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, os.getegid() if uid == os.geteuid() else uid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _unprivileged(named: str | None) -> Account:
    wanted = (named,) if named else UNPRIVILEGED
    for account in map(_named, wanted):
        if account is not None and account.uid != 0:
            return account
    raise PostgresUnusable(
        f"Postgres never runs as root, and this machine has no user {' or '.join(wanted)} to"
        f" run it as: name an ordinary user that exists in {VARIABLE}."
    )
