"""Which of the tickets that wait for paced SIMs may go now, and when the next ones may.

Those that wait for the same SIMs go in turn, whoever sent them. When the one whose turn it is does
not fit yet, those behind it wait too: else short texts would hold a long one up for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from smsd.domain.pacing import Meter
from smsd.domain.rounds import in_turn


class Waiting(NamedTuple):
    """A ticket that waits, in its queue; ``whose`` is an API key, or empty for the secret."""

    queue: str
    id: int
    segments: int
    whose: str = ""


class Turn(NamedTuple):
    """Whose ticket a SIM had, and when. Seconds since 1970."""

    at: float
    whose: str


class Ration(NamedTuple):
    """What goes now, and from when on something of a queue that is closed may go. Seconds since
    1970; a queue that is missing is open."""

    chosen: list[Waiting]
    opens: dict[str, float]


Queues = Mapping[str, tuple[str, ...]]


def closed(queues: Queues, meters: Mapping[str, Meter], now: float) -> dict[str, float]:
    """Which queues (each with the SIMs that it is counted at) must wait, and until when."""
    opens = {queue: _opens(sims, meters) for queue, sims in queues.items()}
    return {queue: at for queue, at in opens.items() if at > now}


def ration(
    queues: Queues,
    meters: Mapping[str, Meter],
    waiting: Sequence[Waiting],
    last: Mapping[str, Turn],
    *,
    now: float,
    places: int,
) -> Ration:
    """At most ``places`` of those that wait, each queue's in their order. ``last``: whose ticket
    each SIM had last, if any. The meters count what is chosen."""
    found = Ration([], {})
    for sims in dict.fromkeys(queues.values()):
        among = [queue for queue, theirs in queues.items() if theirs == sims]
        turns = _turns([one for one in waiting if one.queue in among], last, sims)
        for one in turns:
            if len(found.chosen) == places:
                return found
            at = _opens(sims, meters, one.segments)
            if at > now:
                found.opens.update(dict.fromkeys(among, at))
                break
            for sim in sims:
                meters[sim].take(one.segments)
            found.chosen.append(one)
    return found


def _opens(sims: Iterable[str], meters: Mapping[str, Meter], segments: int = 1) -> float:
    return max(meters[sim].opens(segments) for sim in sims)


def _turns(
    waiting: Sequence[Waiting], last: Mapping[str, Turn], sims: Iterable[str]
) -> Iterator[Waiting]:
    by_whom: dict[str, list[Waiting]] = {}
    for one in waiting:
        by_whom.setdefault(one.whose, []).append(one)
    latest = max((last[sim] for sim in sims if sim in last), default=None)
    return in_turn(by_whom, latest and latest.whose)
