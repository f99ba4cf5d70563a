"""Who does one thing over and over, and for which org: a correspondent, a subscriber, a planner
and an asker."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from faults.askers import Asker
from faults.correspondents import Correspondent
from faults.journal import Journal
from faults.orgs import Org
from faults.planners import Planner
from faults.regulars import Regular
from faults.subscribers import Subscriber

KINDS = (Correspondent, Subscriber, Planner, Asker)


def regulars(orgs: Sequence[Org], journal: Journal, port: int, chance: Random) -> list[Regular]:
    """One for each org; the correspondent's and the planner's are those that listen."""
    return [
        kind(journal, port, org, Random(chance.random()))
        for kind, org in zip(KINDS, orgs, strict=True)
    ]
