"""What a phone was given, for certain: a claim whose answer was lost is looked up until it is
known, so that no ticket is a session's without the session knowing it.

Meanwhile the phone counts as being fed, so nothing newer overtakes. How new tickets are looked
up, many orgs' at once, is `smsd.store.batch`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable

from smsd.gateway.patience import Patience
from smsd.gateway.visit import Visit
from smsd.store import messages
from smsd.store.database import Database
from smsd.store.messages import Handed
from smsd.store.trouble import Unanswered, away

#: How often it is asked for at least. Seconds.
OFTEN = 0.5


async def surely(
    claim: Awaitable[Handed], database: Database, patience: Patience, visit: Visit
) -> Handed:
    """What the claim gave to this visit; raises `Unavailable` where that was nothing."""
    try:
        return await claim
    except Unanswered as lost:
        batch_id = lost.batch_id
        if batch_id is None:
            raise

    async def recall() -> Handed | None:
        return await messages.handed(
            database, visit.org_id, session_id=visit.session_id, batch_id=batch_id
        )

    handed = await patience.insist(recall, late=OFTEN)
    if handed is None:
        raise away()
    return handed
