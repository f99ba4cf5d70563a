"""How many posts may be on their way at once to one endpoint, so that a dead one fills no more than
its own places. How many there may be in all is not here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

#: A host and a port.
Door = tuple[str, int]

#: Posts at once to one endpoint.
MOST = 4


class Gates:
    """Counts those who are inside; nobody waits here, and a door that nobody uses is forgotten."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._inside: Counter[Door] = Counter()

    def full(self, door: Door) -> bool:
        """Whether there is no place now: what is due for this door has to be tried later."""
        return self._inside[door] >= self._most

    @contextmanager
    def inside(self, door: Door) -> Iterator[None]:
        """Takes a place while the block runs; the caller has asked `full` just before."""
        self._inside[door] += 1
        try:
            yield
        finally:
            self._inside[door] -= 1
            if not self._inside[door]:
                del self._inside[door]
