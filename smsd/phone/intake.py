"""What one phone said and what is not done yet: so much at a time, the rest in its turn.

Nothing is refused or forgotten here. Whoever reads the phone looks whether it is `full`, and then
reads no further; what came in the same gulp waits as it was said, which costs next to nothing.
Every phone has two of these, mostly empty: hence a list, for an empty deque takes 760 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Intake(Generic[T]):
    """At most ``most`` have begun and are not done. ``begin`` begins one; `done` is for its end."""

    def __init__(self, most: int, begin: Callable[[T], None]) -> None:
        self._most = most
        self._begin = begin
        self._waiting: list[T] = []
        self._under_way = 0
        self._beginning = False

    @property
    def full(self) -> bool:
        """Whether no more should be read from the phone."""
        return self._under_way + len(self._waiting) >= self._most

    def add(self, said: T) -> None:
        """The phone said this."""
        self._waiting.append(said)
        self._go_on()

    def done(self) -> None:
        """One of those that have begun has come to its end, whichever."""
        self._under_way -= 1
        self._go_on()

    def forget(self) -> None:
        """What has not begun never will."""
        self._waiting.clear()

    def _go_on(self) -> None:
        """In a loop, not one from within the other: a thousand may end as soon as they begin."""
        if self._beginning:
            return
        self._beginning = True
        try:
            while self._waiting and self._under_way < self._most:
                self._under_way += 1
                self._begin(self._waiting.pop(0))
        finally:
            self._beginning = False
