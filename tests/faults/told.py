"""The events of orgs that listen, held against the rows that they tell of: nothing changed without
its event, and each ticket's events are a walk along the arrows of its life."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from smsd.domain.lifecycle import BIRTHS, STEPS

if TYPE_CHECKING:
    from faults.checker import Findings, Row

#: Events of messages that came since, in the order of their ids.
EVENTS = """
    SELECT org_id, id, type, message_id
    FROM events
    WHERE message_id > coalesce((%s::jsonb ->> org_id)::bigint, 0)
    ORDER BY org_id, id
"""
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
