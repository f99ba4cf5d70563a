"""Tickets of which somebody wished that no phone has them, always or at certain times, held against
what phones were given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.checker import Findings, Row
    from faults.journal import Round

_OPTED_OUT = ("failed", "opted_out", 0)


def hold(seen: Round, rows: Iterable[Row], found: Findings) -> None:
    """Notes what went to somebody who had said STOP, what went too early or too late, and what
    ended as expired though a phone sent it."""
    found.counts["questions answered"] += seen.replies
    for row in rows:
        if row.direction == "out":
            _hold_one(seen, row, found)


def _hold_one(seen: Round, row: Row, found: Findings) -> None:
    found.counts["tickets opted out"] += row.error == "opted_out"
    text, pushes = seen.texts.get(row.body), seen.pushes.get((row.org_id, row.id))
    barred = text is not None and text.barred
    if barred and (pushes or (row.status, row.error, row.attempts) != _OPTED_OUT):
        found.note("given to a phone after a STOP", (row, pushes))
    if row.untimely:
        found.note("given to a phone outside of its time", row)
    if row.status == "expired" and (phones := seen.radioed.get(row.body)):
        found.note("expired, sent", row)
        if row.body in seen.confirmed and any(name.startswith("ledger") for name in phones):
            found.note("a ledger phone's word lost", row)
