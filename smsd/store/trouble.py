"""What can go wrong with the database, translated once from the driver's many errors.

`DataRefused` is the fault of one row, `Contended` that of somebody who holds a lock,
`Unavailable` (a `Problem`) that of the database or the road to it. After all of these nothing was
stored, but for `Unanswered`, after which nobody knows (see `smsd.store.batches`). Anything else
is our own bug and is let through as it came.
"""

from __future__ import annotations

import psycopg2

from smsd.domain.errors import Unavailable

RETRY_AFTER = 5

_DATA = ("22", "23")
_CONTENTION = ("55P03", "40P01", "40001")
#: Connection, resources, operator intervention, system error; read-only and query cancelled.
_AWAY = ("08", "53", "57", "58", "25006", "XX000")
_DEAD = ("08", "57P")
_FATAL = ("FATAL", "PANIC")


class DataRefused(Exception):
    """The database refuses a value; ``constraint`` names the rule that it breaks, if any."""

    def __init__(self, constraint: str | None, sqlstate: str) -> None:
        super().__init__(f"refused by {constraint or sqlstate}")
        self.constraint = constraint


class Contended(Unavailable):
    """Somebody else holds what this needs. Nothing was stored; try again."""


class CannotConnect(Unavailable):
    """The database cannot be reached."""


class Refused(Unavailable):
    """The database cannot do this now. Nothing was stored; try again."""

    def __init__(self, state: str) -> None:
        super().__init__(retry_after=RETRY_AFTER)
        self.state = state


class Unanswered(Unavailable):
    """The database has not answered: this may have been stored all the same. Try again."""

    #: Under what the write can be looked up, where it was given an id.
    batch_id: str | None = None


def away(detail: str | None = None) -> Unavailable:
    """The database cannot be asked now; nothing was stored."""
    return Unavailable(detail, retry_after=RETRY_AFTER)


def unanswered(detail: str | None = None) -> Unanswered:
    """The database was asked, and its answer is lost."""
    return Unanswered(detail, retry_after=RETRY_AFTER)


def translated(error: psycopg2.Error) -> Exception:
    """The driver's error in our own words; the error itself where it is our bug."""
    state = error.pgcode or ""
    if state.startswith(_DATA):
        return DataRefused(error.diag.constraint_name, state)
    if state in _CONTENTION:
        return Contended(retry_after=1)
    if is_dead(error):
        return away()
    return Refused(state) if state.startswith(_AWAY) else error


def is_dead(error: psycopg2.Error) -> bool:
    """Whether the connection on which this happened is of no more use.

    Deadlocks, full disks and lock time-outs are `OperationalError` too and leave it whole; not
    so where Postgres calls them fatal, as when its own log does not fit on the disk. An error
    without a code is the driver's own: it lost the connection, unless it is a
    `ProgrammingError`, with which it refuses what we asked of it.
    """
    if isinstance(error, psycopg2.InterfaceError):
        return True
    if error.pgcode:
        return error.pgcode.startswith(_DEAD) or error.diag.severity_nonlocalized in _FATAL
    return not isinstance(error, psycopg2.ProgrammingError)
