"""What the log says of phones that come and go: one line each, with the SIMs that a phone holds.

It reports these a moment after it has come, so the line waits for them, but not for long.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from smsd.domain.cause import caused_by, request_id
from smsd.domain.numbers import masked
from smsd.gateway.visit import Visit

#: A phone that has not reported its SIMs for so long is told of all the same. Seconds.
WITHIN = 5.0


class Arrivals:
    """Phones of which the log has not told yet. ``clock`` gives seconds."""

    _log = Logger()

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: In the order in which they came: until when to wait, and which request it was.
        self._new: dict[Visit, tuple[float, bytes]] = {}

    def came(self, visit: Visit) -> None:
        """The phone is on line, and has not said which SIMs it holds."""
        self._new[visit] = (self._clock() + WITHIN, request_id())

    def told(self, visit: Visit) -> None:
        """The phone has said which SIMs it holds."""
        if found := self._new.pop(visit, None):
            caused_by(found[1], self._tell, visit)

    def tick(self) -> None:
        """Wait no longer for those that came long ago."""
        for visit, (until, _) in list(self._new.items()):
            if until > self._clock():
                return
            self.told(visit)

    def went(self, visit: Visit, why: str) -> None:
        """The phone is gone."""
        self.told(visit)
        self._log.info(
            "a phone of {org} is gone: {why}",
            org=visit.org_id,
            why=why,
            phone=_label(visit),
            session=visit.session_id,
        )

    def _tell(self, visit: Visit) -> None:
        self._log.info(
            "a phone of {org} is on line; SIMs: {sims}",
            org=visit.org_id,
            sims=len(visit.sims),
            phone=_label(visit),
            session=visit.session_id,
        )


def _label(visit: Visit) -> str:
    """Which phone it is: its device or a number, of which only the end is shown."""
    name = visit.identity.device_id or min(visit.numbers, default="")
    return masked(name[-8:]) or "?"
