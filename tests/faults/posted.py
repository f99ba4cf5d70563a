"""What was posted to hooks, held against the events that are stored: each that a hook wants was
taken by its endpoint, and none was posted for the first time after a later one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.checker import Findings, Row
    from faults.endpoints import Hook
    from faults.journal import Round
    from faults.told import Event

#: Events of their orgs that hooks have yet to look at.
BEHIND = """
    SELECT coalesce(sum(last_event - cursor), 0)
    FROM hooks JOIN org_counters USING (org_id)
"""


def hold(
    seen: Round,
    rows: Iterable[Row],
    events: Sequence[Event],
    hooks: Iterable[Hook],
    found: Findings,
) -> None:
    """Notes what a hook's endpoint never took, and what was posted to it out of order."""
    addresses = {(row.org_id, row.id): row.address for row in rows}
    found.counts["posts taken"] += seen.posts["taken"]
    found.counts["posts refused"] += seen.posts["refused"]
    for hook in hooks:
        for event in events:
            if _due(hook, event, addresses) and event.id not in seen.taken[hook.name]:
                found.note("events missed by a hook", (hook.name, event))
    for overtaken in seen.overtaken:
        found.note("events out of order at a hook", overtaken)


def _due(hook: Hook, event: Event, addresses: dict[tuple[str, int], str]) -> bool:
    address = addresses.get((event.org_id, event.message_id))
    return hook.org_id == event.org_id and hook.wants(event.type, address)
