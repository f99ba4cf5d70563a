"""How long somebody waits for the database, without what the reactor itself was late.

A reactor that was busy for seconds finds the time over, and the answers unread: to give up then
would cut healthy connections, send everybody away and make it busier still. So it looks once more
after as long as it was late. Where nobody is late the deadline is what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Deadline:
    """Calls ``expired`` when the time is over; late at most as long as it has waited."""

    def __init__(self, reactor: Any, seconds: float, expired: Callable[[], None]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._expired = expired
        self._due = reactor.seconds() + seconds
        self._timer = reactor.callLater(seconds, self._look)

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return not self._timer.active()

    def cancel(self) -> None:
        """It was in time. Harmless when it is over."""
        if self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        late = min(self._seconds, self._reactor.seconds() - self._due)
        self._timer = self._reactor.callLater(late, self._expired)
