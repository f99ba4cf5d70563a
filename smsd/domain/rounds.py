"""Whose ticket goes next where several programs of one org share what a SIM may send.

Each in turn, beginning with whoever had nothing for the longest time: a thousand tickets of one
hold up one of another by a single turn. What each may send is not asked here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turn(waiting: Mapping[str, Sequence[T]], served: Mapping[str, float]) -> Iterator[T]:
    """One of each, then the next of each. ``waiting``: by whose they are, in their order;
    ``served``: when each had its last turn, where it had one."""
    order = sorted(waiting, key=lambda whose: (served.get(whose, float("-inf")), whose))
    round_ = deque(deque(waiting[whose]) for whose in order)
    while round_:
        ones = round_.popleft()
        if ones:
            yield ones.popleft()
            round_.append(ones)
