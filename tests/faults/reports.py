"""What the network tells a phone of the SMS that it sent: that they arrived, of most of them,
before the phone's own result or later. Nobody tells the phone that a report was heard, so it says
each again over every new connection for a while, and now and then for no reason.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from random import Random
from typing import Any

from faults.journal import Journal

#: Of so many SMS that arrive the network says so, and of so many it says so twice.
TOLD, TOLD_TWICE = 0.8, 0.3
#: After at most so many seconds; now and then at once.
LATE = 1.5
#: For so long a report is said again over every new connection: longer than any trouble lasts.
REMEMBERED = 120.0


class Reports:
    """Of one phone."""

    def __init__(self, org_id: str, journal: Journal, chance: Random) -> None:
        self._org_id = org_id
        self._journal = journal
        self._chance = chance
        self._said: deque[tuple[float, dict[str, Any]]] = deque()

    async def of(self, frame: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The reports on the SMS of this ``send_sms``, each at the moment it is to be passed on."""
        if self._chance.random() > TOLD:
            return
        await asyncio.sleep(max(0.0, self._chance.uniform(-LATE / 4, LATE)))
        report = {"type": "delivery_report", "id": frame["id"], "delivered": True}
        report |= {"ref": frame["ref"]} if "ref" in frame else {}
        self._said.append((time.monotonic(), report))
        self._journal.reported(self._org_id, frame["id"])
        yield report
        if self._chance.random() < TOLD_TWICE:
            await asyncio.sleep(self._chance.uniform(0, LATE))
            yield report

    def worth_repeating(self) -> list[dict[str, Any]]:
        """Those that may have been lost with a connection."""
        since = time.monotonic() - REMEMBERED
        while self._said and self._said[0][0] < since:
            self._said.popleft()
        return [report for _, report in self._said]
