"""Reports of SIMs, stored one at a time: of those that come meanwhile the newest stands for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from smsd.domain.records import Sim
from smsd.phone.frames import Sims, SimsAck
from smsd.phone.said import storable

#: So many may wait before the phone is read no further.
MOST = 16


class Reports:
    """Each is acknowledged when it, or one that replaces it, is stored."""

    def __init__(self, acknowledge: Callable[[SimsAck], None]) -> None:
        self._acknowledge = acknowledge
        self._waiting: list[Sims] = []
        self._busy = False

    @property
    def full(self) -> bool:
        """Whether no more should be read from the phone."""
        return len(self._waiting) >= MOST

    def add(self, report: Sims) -> bool:
        """The phone holds these now; whether nobody stores them yet, so that `stored` must."""
        self._waiting.append(report)
        return not self._busy

    async def stored(self, store: Callable[[Sequence[Sim]], Awaitable[object]]) -> None:
        """When all are, by ``store``."""
        self._busy = True
        while self._waiting:
            reports, self._waiting = self._waiting, []
            await store([storable(sim) for sim in reports[-1].sims])
            for report in reports:
                self._acknowledge(SimsAck(len(report.sims)))
        self._busy = False
