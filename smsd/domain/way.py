"""Where an exception came from, without a word of what it says.

An exception likes to quote the value that it stumbled over: a secret, a number, what an SMS says.
So a log gets the kind of each exception and the lines of code, and never its text.
"""

from __future__ import annotations

import traceback
from types import TracebackType

#: Of a chain of causes, the last so many.
_MOST = 10


def way(error: BaseException, trace: TracebackType | None = None) -> str:
    """The traceback of ``error`` and of what caused it. ``trace`` stands in for its own where
    that was lost."""
    steps: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(steps) < _MOST:
        frames = "".join(traceback.format_tb(cause.__traceback__ or trace))
        steps.append(f"{type(cause).__module__}.{type(cause).__qualname__}\n{frames}")
        cause, trace = cause.__cause__ or cause.__context__, None
    return "from ".join(steps)
