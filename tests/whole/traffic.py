"""Agents who never pause and a phone that takes what they send, while a test does its worst."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType

from callers import Caller
from visitors import Org, Phone, until

#: How often a phone looks up, and how long it listens on when the callers have ended. Seconds.
GLANCE, QUIET = 0.1, 1.0


class Flow:
    """Callers who never pause, each in a thread, from ``with`` on; a phone takes what they send.

    The phone must be the only one of the org.
    """

    def __init__(self, org: Org, phone: Phone, callers: int = 3) -> None:
        self.callers = [Caller(org) for _ in range(callers)]
        self.pushed: list[int] = []
        self._phone = phone
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,))
            for work in (self._take, *(partial(self._call_on, each) for each in self.callers))
        ]
        self._failures: list[BaseException] = []

    def __enter__(self) -> Flow:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if kind is None and self._failures:
            raise self._failures[0]

    def passes(self, more: int = 5) -> None:
        """Until every caller was served so many times more."""
        for caller in self.callers:
            served = caller.answers.count(200) + more
            until(lambda c=caller, n=served: self._failures or c.answers.count(200) >= n)

    def _call_on(self, caller: Caller) -> None:
        while not self._over.is_set():
            for call in ("text", "incoming", "messages"):
                caller.ask(call)

    def _take(self) -> None:
        """Every push is answered, until it has been quiet for a while after the end."""
        quiet = 0.0
        while not (self._over.is_set() and quiet > QUIET):
            try:
                frame = json.loads(self._phone.socket.recv(timeout=GLANCE))
            except TimeoutError:
                quiet += GLANCE
                continue
            quiet = 0.0
            self.pushed.append(frame["id"])
            self._phone.confirm(frame["id"])

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:
            self._failures.append(failure)
