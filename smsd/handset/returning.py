"""Whether a phone whose line has ended comes back, and when.

A gateway that restarts loses all its phones at once. If each waited the same time they would all
be back at once too; so each draws its wait anew from 0 up to a limit that doubles with every try
("full jitter"), and a line that lived only for a moment does not count as a success. Where the
gateway says when (``Retry-After``), that time comes first and the draw on top of it.

Some ends are final: to come back with the same wrong secret only locks the org for strangers, and
two clones of one phone that both come back would throw each other out for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import assert_never

LONGEST_WAIT = 60.0
LONGEST_RETRY_AFTER = 3600.0
STABLE = 5.0

_WRONG_SECRET = (
    "the gateway does not accept this OrgId with this secret or key ({}). Check --org and "
    "SMSD_SECRET or SMSD_KEY"
)
_REPLACED = (
    "another phone that says it is this one (the same device_id, or without one the same number) "
    "has taken its place (4409). Clones would throw each other out for ever, so this one stops"
)
_REFUSED = "the gateway refuses the connection ({} {}), and would again. Check --url"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """There was no WebSocket at the other end, for the reason in these words."""

    words: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The upgrade was answered with an HTTP error."""

    status: int
    words: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The line stood for ``on_line`` seconds and was closed or lost."""

    code: int
    reason: str
    on_line: float


End = Unreachable | Refused | Closed


@dataclass(frozen=True, slots=True)
class Stop:
    """Do not come back."""

    words: str


@dataclass(frozen=True, slots=True)
class Again:
    """Come back after so many seconds."""

    words: str
    seconds: float


class Returning:
    """Remembers how many tries in a row have failed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._tries = 0

    def after(self, end: End) -> Stop | Again:
        match end:
            case Unreachable(words):
                return Again(f"no connection: {words}", self._wait())
            case Refused():
                return self._after_refusal(end)
            case Closed():
                return self._after_closing(end)
        assert_never(end)

    def _after_refusal(self, end: Refused) -> Stop | Again:
        if end.status == 401:
            return Stop(_WRONG_SECRET.format(401))
        if 400 <= end.status < 500 and end.status not in (408, 429):
            return Stop(_REFUSED.format(end.status, end.words))
        told = min(end.retry_after or 0.0, LONGEST_RETRY_AFTER)
        return Again(f"refused: {end.status} {end.words}", told + self._wait())

    def _after_closing(self, end: Closed) -> Stop | Again:
        if end.code == 4401:
            return Stop(_WRONG_SECRET.format(4401))
        if end.code == 4409:
            return Stop(_REPLACED)
        if end.on_line >= STABLE:
            self._tries = 0
        return Again(f"closed: {end.code} {end.reason}".rstrip(), self._wait())

    def _wait(self) -> float:
        longest = min(LONGEST_WAIT, 2.0 ** min(self._tries, 10))
        self._tries += 1
        return self._random.uniform(0, longest)


def seconds(retry_after: str) -> float | None:
    """What a ``Retry-After`` header says; None where it is a date, which no gateway sends."""
    text = retry_after.strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
