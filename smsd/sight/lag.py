"""How late the reactor is: by how much a timer that is due fires after its time.

Whatever holds the reactor up (a long computation, a machine with too much to do) holds up every
phone and every call for as long.
"""

from __future__ import annotations

from typing import Any

from smsd.domain.tallies import Spread

#: Seconds between two looks.
EVERY = 0.25


class Lag:
    """Looks again and again while it is started."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._timer: Any = None
        self._due = 0.0
        self.spread = Spread()

    def start(self) -> None:
        self._due = self._reactor.seconds() + EVERY
        self._timer = self._reactor.callLater(EVERY, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        self.spread.add(max(0.0, self._reactor.seconds() - self._due))
        self.start()
