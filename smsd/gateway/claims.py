"""Who may claim a new org, and how many orgs there may be (settings ``claims``, ``max_orgs``)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Literal

from smsd.domain.errors import GatewayFull
from smsd.store import limits
from smsd.store.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """``max_orgs``: 0 for no limit."""

    who: Literal["open", "token", "closed"] = "open"
    token: str | None = field(default=None, repr=False)
    max_orgs: int = 0

    def admits(self, token: str | None) -> bool:
        if self.who == "token" and self.token is not None and token is not None:
            return hmac.compare_digest(self.token.encode(), token.encode("utf-8", "replace"))
        return self.who == "open"

    async def look(self, database: Database) -> None:
        """Raises `GatewayFull` before anything is spent on a claim that cannot be."""
        if self.max_orgs and await limits.orgs_exceed(database, self.max_orgs - 1):
            raise self._full()

    async def begin(self, tx: Transaction) -> None:
        """One claim after another, over all nodes, where they are counted."""
        if self.max_orgs:
            await limits.hold_claims(tx)

    async def count(self, tx: Transaction) -> None:
        """Raises `GatewayFull` where the org that was made in this transaction is one too many."""
        if self.max_orgs and await limits.orgs_exceed(tx, self.max_orgs):
            raise self._full()

    def _full(self) -> GatewayFull:
        return GatewayFull(
            f"This gateway has as many orgs as it may have (max_orgs: {self.max_orgs:,}), so "
            "nobody can claim another. Ask its operator; orgs that exist go on as before."
        )


#: Anybody, and as many as will.
OPEN = ClaimPolicy()
