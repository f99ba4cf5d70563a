"""The gateway with bugs: whoever says so breaks it in the middle of its work.

A program like ``smsd``, for tests that look for secrets in logs; it is no part of the gateway. The
exceptions are as they often are: they quote what they stumbled over, and so does their cause.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from smsd.__main__ import main
from smsd.gateway.inbox import Inbox
from smsd.gateway.outbox import Outbox
from smsd.phone.desk import Desk

#: Whoever says this steps on a bug.
STUMBLE = "stumble"


class Quoting(Exception):
    """Says what could not be done, in full."""


def stumbling(work: Any) -> Any:
    """The same work, which breaks where it is told to."""

    def stumble(self: Any, *given: Any, **how: Any) -> Any:
        words = repr(msgspec.to_builtins(given[-1], enc_hook=repr))
        if STUMBLE not in words:
            return work(self, *given, **how)
        try:
            return {}[words]
        except KeyError as error:
            raise Quoting(f"cannot do {words}") from error

    return stumble


def break_it() -> None:
    kinds: tuple[tuple[Any, str], ...] = (
        (Inbox, "store"),
        (Outbox, "accept"),
        (Desk, "settle"),
        (Desk, "store"),
    )
    for kind, name in kinds:
        setattr(kind, name, stumbling(getattr(kind, name)))


if __name__ == "__main__":
    break_it()
    sys.exit(main())
