"""What follows from an attempt: nothing, another one, or the end of the hook. Pure rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from smsd.outward.attempt import Attempt

_MINUTE, _HOUR = 60.0, 3600.0

#: Seconds from one attempt at an event to the next.
PAUSES = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
#: An endpoint that has failed without a break for so long is given up. Seconds.
PATIENCE = 72 * _HOUR
#: A pause is lengthened by at most this part of itself, so that many do not come back at once.
JITTER = 0.2


class Taken(Struct, frozen=True):
    """The endpoint has the event: on to the next."""


class Again(Struct, frozen=True):
    """The same event once more, in so many seconds."""

    seconds: float


class Skipped(Struct, frozen=True):
    """This event has had all its attempts: on to the next, in so many seconds."""

    seconds: float


class Disabled(Struct, frozen=True):
    """No more posts to this hook until somebody enables it anew."""

    why: Literal["gone", "failing"]


Verdict = Taken | Again | Skipped | Disabled


def verdict(
    attempt: Attempt, *, tries: int, failing_for: float, chance: Callable[[], float]
) -> Verdict:
    """What follows from ``attempt``, the ``tries``-th at its event (from 1).

    ``failing_for`` is how many seconds the hook has failed without a success between, up to this
    attempt (0 where it is the first failure); ``chance`` gives numbers from 0 to 1.
    """
    if attempt.taken:
        return Taken()
    if attempt.gone:
        return Disabled("gone")
    if failing_for >= PATIENCE:
        return Disabled("failing")
    pause = _pause(attempt, tries, chance)
    return Again(pause) if tries <= len(PAUSES) else Skipped(pause)


def _pause(attempt: Attempt, tries: int, chance: Callable[[], float]) -> float:
    own = PAUSES[min(tries, len(PAUSES)) - 1] * (1 + JITTER * chance())
    return max(own, attempt.retry_after or 0.0)
