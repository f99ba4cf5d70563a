"""Telling many the same without holding up everybody else.

Whoever is told something goes on at once, within the call that tells it. Where five thousand wait
for one answer that is seconds in which nobody else is served; so after every so many the reactor
turns once. Few are told at once, and set no timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

#: So many may go on in one turn of the reactor.
MOST = 100


class Breath(Generic[T]):
    """Tells those who wait in their order, and breathes between them."""

    def __init__(self, reactor: Any, most: int = MOST) -> None:
        self._reactor = reactor
        self._most = most
        self._told = 0
        self._telling = False
        self._waiting: deque[tuple[Deferred[T], T | Failure]] = deque()

    def tell(self, those: Iterable[Deferred[T]], what: T | Failure) -> None:
        """This is their answer, or what went wrong."""
        self._waiting.extend((one, what) for one in those)
        if not self._telling:
            self._telling = True
            self._tell()

    def _tell(self) -> None:
        while self._waiting and self._told < self._most:
            one, what = self._waiting.popleft()
            self._told += 1
            one.callback(what)  # a failure is told as one
        if self._told < self._most:
            self._telling = False
        else:
            self._reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._told = 0
        self._tell()
