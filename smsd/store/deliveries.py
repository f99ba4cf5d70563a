"""What became of an SMS after it was sent, where an agent asked: it arrived, or it did not."""

from __future__ import annotations

from collections.abc import Sequence

from smsd.domain.records import Delivery, jsoned
from smsd.store.database import Database
from smsd.store.statements import named

_SETTLE = named("settle_deliveries")


async def settle(database: Database, deliveries: Sequence[Delivery]) -> list[str]:
    """Write reports down, each ticket once; for each report ``settled``, ``repeated``,
    ``ignored`` (nobody asked for it, or another ref) or ``unknown``."""
    rows = [
        {
            "ord": at,
            "org_id": each.org_id,
            "id": each.id,
            "delivered": each.delivered,
            "at": each.at,
            "error_detail": each.error,
            "ref": each.ref,
        }
        for at, each in enumerate(deliveries)
    ]
    verdicts: dict[int, str] = dict(await database.run(_SETTLE, rows=jsoned(rows)))
    return [verdicts[at] for at in range(len(deliveries))]
