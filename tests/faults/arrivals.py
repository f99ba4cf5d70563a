"""What phones reported to have arrived, held against the tickets that are ``delivered``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.checker import Findings, Row
    from faults.journal import Round

#: Of these tickets (orgs and ids), those that are not what their phones reported.
UNHEARD = """
    SELECT count(*)
    FROM unnest(%s::text[], %s::bigint[]) AS reported (org_id, id)
    JOIN messages AS m USING (org_id, id)
    WHERE m.status <> 'delivered'
"""


def hold(seen: Round, rows: Iterable[Row], found: Findings) -> None:
    """Notes a report that came to nothing, and a delivery of which no phone told."""
    found.counts["delivery reports"] += len(seen.reported)
    for row in rows:
        if row.direction == "out":
            reported, delivered = (row.org_id, row.id) in seen.reported, row.status == "delivered"
            if reported and not delivered:
                found.note("reported to have arrived, and is not delivered", row)
            if delivered and not reported:
                found.note("told as delivered, and nobody said so", row)
