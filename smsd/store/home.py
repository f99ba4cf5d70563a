"""Where private data lives.

In the directory that was asked for; but the Postgres of a root daemon runs as an unprivileged
user, who often may not enter root's checkout. Its data then lives below /var/lib, and the user
is told. Nothing that exists gets another mode or owner.

The data directory itself is the daemon's (a root daemon lets others pass through it, not look
into it); only what is Postgres' in it belongs to Postgres' user.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from smsd.store.account import Account, keeper, server_account
from smsd.store.directories import made
from smsd.store.unusable import PostgresUnusable

SHARED = Path("/var/lib/smsd")
#: The cluster's directory in the data directory.
CLUSTER = "postgres"


@dataclass(frozen=True, slots=True)
class Home:
    """A data directory that exists; ``notice`` tells the user where it is not as expected."""

    path: Path
    notice: str | None = None


def settle(
    wanted: Path,
    *,
    uid: int,
    server_user: Account | None = None,
    shared: Path = SHARED,
) -> Home:
    """Choose and make the data directory for a daemon that runs as ``uid``.

    Data that is already in one of the two places is found again, wherever it would go today;
    raises `PostgresUnusable` where it can no longer be reached.
    """
    wanted = wanted.resolve()
    if uid != 0:
        return Home(made_home(wanted, uid))
    user = keeper(wanted / CLUSTER) if occupied(wanted) else server_user or server_account(uid=uid)
    elsewhere = shared.resolve() / _name(wanted)
    closed = barrier(wanted, user)
    if closed is None and (occupied(wanted) or not occupied(elsewhere)):
        return Home(made_home(wanted, uid))
    if closed and occupied(wanted):
        raise PostgresUnusable(unreachable(wanted, user, closed))
    made_home(elsewhere, uid)
    if not occupied(elsewhere) and (closed_too := barrier(elsewhere, user)):
        raise PostgresUnusable(unreachable(elsewhere, user, closed_too))
    return Home(elsewhere, _notice(wanted, elsewhere, user, closed))


def made_home(path: Path, uid: int) -> Path:
    """The data directory: closed to others, but for root's, which Postgres' user passes."""
    return made(path, 0o711 if uid == 0 else 0o700)


def occupied(home: Path) -> bool:
    """Whether a cluster is there."""
    return os.path.lexists(home / CLUSTER)


def barrier(path: Path, user: Account) -> Path | None:
    """The first directory on the way to ``path``, itself included, that keeps the user out."""
    there = next(each for each in (path, *path.parents) if each.is_dir())
    if user.can_enter(there):
        return None
    return next(each for each in (*reversed(there.parents), there) if not user.can_enter(each))


def unreachable(path: Path, user: Account, closed: Path) -> str:
    """The sentence for a data directory that Postgres' user cannot get at."""
    return (
        f"Postgres runs as {user.name}, who may not enter {closed} and so cannot reach its data"
        f" in {path}: let that user pass (chmod o+x {closed}), or choose another data directory."
    )


def _notice(wanted: Path, elsewhere: Path, user: Account, closed: Path | None) -> str:
    why = f" (Postgres runs as {user.name} here, who may not enter {closed})" if closed else ""
    return f"The data of {wanted.parent} is in {elsewhere}, not in {wanted}{why}."


def _name(wanted: Path) -> str:
    """Readable, and different for two checkouts of one name."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.parent.name).strip("-.") or "smsd"
    return f"{readable[:40]}-{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:8]}"
