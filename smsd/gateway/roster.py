"""Which phones are on line here, and who serves what: the first connected (contract section 5).

Also takeover: the newer session of one phone wins (contract section 4).
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from smsd.domain.errors import Flapping
from smsd.domain.records import Sim
from smsd.gateway.visit import Visit
from smsd.store.messages import Served

#: More takeovers of one identity than this in a minute, and the newcomer is sent away.
TAKEOVERS, MINUTE = 5, 60.0


def _by_order(visit: Visit) -> int:
    return visit.order


@dataclass(slots=True)
class _OrgPhones:
    """The phones of one org, by the queues they could serve, each in order of connection."""

    by_key: dict[str, list[Visit]] = field(default_factory=dict)

    def add(self, visit: Visit, keys: list[str]) -> None:
        for key in keys:
            insort(self.by_key.setdefault(key, []), visit, key=_by_order)

    def remove(self, visit: Visit, keys: list[str]) -> set[Visit]:
        """Take the visit out of these queues; whoever is first in one of them now."""
        heirs = set()
        for key in keys:
            visits = self.by_key[key]
            was_first = visits[0] is visit
            visits.remove(visit)
            if not visits:
                del self.by_key[key]
            elif was_first:
                heirs.add(visits[0])
        return heirs


class Roster:
    """The phones that are connected to this node."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._orgs: dict[str, _OrgPhones] = {}
        self._takeovers: dict[tuple[str, str], deque[float]] = {}
        #: Those that an API key let in.
        self.keyed: set[Visit] = set()
        #: How many have come so far.
        self.arrivals = 0

    def __iter__(self) -> Iterator[Visit]:
        for org in list(self._orgs.values()):
            yield from list(org.by_key.get("*", ()))

    def __len__(self) -> int:
        return sum(len(org.by_key.get("*", ())) for org in self._orgs.values())

    def arrive(self, visit: Visit) -> Visit | None:
        """The phone is on line; the older session of the same device, which it replaces.

        Raises `Flapping` where that happens too often.
        """
        older = self._same_device(visit)
        if older is not None:
            self._count_takeover(visit.org_id, visit.device_key)
        self.arrivals += 1
        visit.order, visit.on_line = self.arrivals, True
        entries = [*visit.keys, *filter(None, [visit.device_key])]
        self._orgs.setdefault(visit.org_id, _OrgPhones()).add(visit, entries)
        if visit.held_key is not None:
            self.keyed.add(visit)
        return older

    def leave(self, visit: Visit) -> set[Visit]:
        """The phone is gone; who serves what it served now. Does nothing the second time."""
        if not visit.on_line:
            return set()
        visit.on_line = False
        self.keyed.discard(visit)
        org = self._orgs[visit.org_id]
        heirs = org.remove(visit, [*visit.keys, *filter(None, [visit.device_key])])
        if not org.by_key:
            del self._orgs[visit.org_id]
        return heirs

    def report(self, visit: Visit, sims: tuple[Sim, ...]) -> tuple[list[Visit], set[Visit]]:
        """The phone holds these SIMs; the sessions it replaces, and who serves what it dropped.

        Raises `Flapping` where one number is taken over too often.
        """
        org = self._orgs[visit.org_id]
        before = visit.keys
        visit.sims, old = sims, visit.sims
        replaced = self._same_numbers(visit)
        try:
            for number in sorted({n for other in replaced for n in other.numbers & visit.numbers}):
                self._count_takeover(visit.org_id, f"number:{number}")
        except Flapping:
            visit.sims = old
            raise
        heirs = org.remove(visit, [key for key in before if key not in visit.keys])
        org.add(visit, [key for key in visit.keys if key not in before])
        return replaced, heirs

    def of(self, org_id: str) -> list[Visit]:
        """The org's phones in order of connection."""
        org = self._orgs.get(org_id)
        return list(org.by_key.get("*", ())) if org else []

    def first(self, org_id: str, key: str) -> Visit | None:
        """The phone that gets a ticket with this wish (see `smsd.domain.records.Wish.key`)."""
        org = self._orgs.get(org_id)
        visits = org.by_key.get(key) if org else None
        return visits[0] if visits else None

    def serves(self, visit: Visit) -> list[Served]:
        """The queues for which this phone is the first connected."""
        if not visit.on_line:
            return []
        by_key = self._orgs[visit.org_id].by_key
        return [visit.serving(key) for key in visit.keys if by_key[key][0] is visit]

    def org_ids(self) -> list[str]:
        """The orgs that have a phone on line here."""
        return list(self._orgs)

    def prune(self) -> None:
        """Forget takeovers that no longer count."""
        for place in list(self._takeovers):
            self._recent(place)

    def _same_device(self, visit: Visit) -> Visit | None:
        return self.first(visit.org_id, visit.device_key) if visit.device_key else None

    def _same_numbers(self, visit: Visit) -> list[Visit]:
        if visit.identity.device_id is not None:
            return []
        by_key = self._orgs[visit.org_id].by_key
        found = {
            other: None
            for number in sorted(visit.numbers)
            for other in by_key.get(number, ())
            if other is not visit and other.identity.device_id is None
        }
        return list(found)

    def _count_takeover(self, org_id: str, identity: str) -> None:
        times = self._recent((org_id, identity))
        if len(times) >= TAKEOVERS:
            raise Flapping(retry_after=int(MINUTE))
        times.append(self._clock())
        self._takeovers[org_id, identity] = times

    def _recent(self, place: tuple[str, str]) -> deque[float]:
        times = self._takeovers.get(place, deque())
        while times and times[0] <= self._clock() - MINUTE:
            times.popleft()
        if not times:
            self._takeovers.pop(place, None)
        return times
