"""Orgs in which nothing is pushed for a moment, because older tickets are on their way back.

A phone that leaves may have been promised tickets, or hold some that were never written. Until
they wait in the table again, nobody of the org gets a newer one: first pushes are in id order.
"""

from __future__ import annotations

from collections import Counter

from smsd.gateway.visit import Visit


class Holds:
    """Counts what is on its way back, and remembers who would have been served meanwhile."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._blocked: dict[str, set[Visit]] = {}

    def begin(self, org_id: str) -> None:
        self._open[org_id] += 1

    def end(self, org_id: str) -> set[Visit]:
        """One is back; who was blocked, when it was the last."""
        self._open[org_id] -= 1
        if self._open[org_id]:
            return set()
        del self._open[org_id]
        return self._blocked.pop(org_id, set())

    def __contains__(self, org_id: str) -> bool:
        return org_id in self._open

    def blocks(self, visit: Visit) -> bool:
        """Whether this phone has to wait; it is remembered if so."""
        if visit.org_id not in self._open:
            return False
        self._blocked.setdefault(visit.org_id, set()).add(visit)
        return True
