"""Whose ticket goes next where several programs of one org share what a SIM may send.

Each in turn, from whoever comes after the one that went last: a thousand tickets of one hold up
one of another by a single turn. What each may send is not asked here.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turn(waiting: Mapping[str, Sequence[T]], last: str | None) -> Iterator[T]:
    """One of each, then the next of each. ``waiting``: by whose they are, in their order; ``last``:
    who had the turn before, if anybody."""
    order = sorted(waiting)
    first = 0 if last is None else bisect(order, last)
    round_ = deque(deque(waiting[whose]) for whose in order[first:] + order[:first])
    while round_:
        ones = round_.popleft()
        if ones:
            yield ones.popleft()
            round_.append(ones)
