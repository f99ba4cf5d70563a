"""The events of orgs that listen, held against the rows that they tell of and against what their
readers heard: nothing changed without its event, each ticket's events are a walk along the arrows
of its life, and each is heard once, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from smsd.domain.lifecycle import BIRTHS, STEPS

if TYPE_CHECKING:
    from faults.checker import Findings, Row
    from faults.journal import Round

#: Events of messages that came since, in the order of their ids.
EVENTS = """
    SELECT org_id, id, type, message_id
    FROM events
    WHERE message_id > coalesce((%s::jsonb ->> org_id)::bigint, 0)
    ORDER BY org_id, id
"""
#: The last event of each of these orgs.
LAST = "SELECT org_id, last_event FROM org_counters WHERE org_id = ANY (%s)"
LISTENERS = "SELECT org_id FROM org_counters WHERE listens_until > clock_timestamp()"

_ARROWS = {(step.leaves, step.enters) for step in STEPS}


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is stored."""

    org_id: str
    id: int
    type: str
    message_id: int


def hold(
    rows: Iterable[Row], events: Sequence[Event], listeners: set[str], found: Findings
) -> None:
    """Notes what is missing and what is out of order, for orgs that listen."""
    by_message: dict[tuple[str, int], list[str]] = defaultdict(list)
    for event in events:
        by_message[event.org_id, event.message_id].append(event.type)
    found.counts["events"] += len(events)
    for row in rows:
        if row.org_id in listeners:
            _hold_one(row, by_message.pop((row.org_id, row.id), []), found)
    for of, told in by_message.items():
        found.note("events out of order", (of, "no such message", told))


def heard(seen: Round, events: Iterable[Event], found: Findings) -> None:
    """Notes what a reader missed, and what it heard twice or after a later one."""
    found.counts["events heard"] += sum(len(ids) for ids in seen.heard.values())
    for event in events:
        if event.id not in seen.heard[event.org_id]:
            found.note("events missed by a reader", event)
    for misplaced in seen.misplaced:
        found.note("events heard out of order", misplaced)


def _hold_one(row: Row, told: list[str], found: Findings) -> None:
    last = "message.received" if row.direction == "in" else f"ticket.{row.status}"
    if last not in told:
        found.note("events missing", (row, told))
    elif told[-1] != last or not _is_walk(row, told):
        found.note("events out of order", (row, told))


def _is_walk(row: Row, told: list[str]) -> bool:
    if row.direction == "in":
        return len(told) == 1
    states = [each.removeprefix("ticket.") for each in told]
    return states[0] in BIRTHS and all(arrow in _ARROWS for arrow in pairwise(states))
