"""The only way to start a coroutine that nobody awaits: nothing fails unseen, and the end waits."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsd.domain.errors import Problem


class Spawn:
    """Starts coroutines and knows which of them still run."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[None]] = set()
        self._idle: list[Deferred[None]] = []

    def __call__(self, what: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it; ``what`` says in the log what it was that failed."""
        running = Deferred.fromCoroutine(coroutine)
        self._running.add(running)
        running.addErrback(self._report, what)
        running.addBoth(self._ended, running)

    async def idle(self) -> None:
        """When nothing that was started runs any more."""
        if self._running:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    def _report(self, failure: Failure, what: str) -> None:
        if failure.check(Problem):
            self._log.debug("{what}: {why}", what=what, why=failure.getErrorMessage())
        else:
            self._log.failure("{what} failed", failure, what=what)

    def _ended(self, _: object, running: Deferred[None]) -> None:
        self._running.discard(running)
        if not self._running:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)
