"""The limits of orgs, held to: each call of an org that has some is admitted first, or refused.

One node never exceeds a limit, however many call at once. Of several each knows what the others
did when it asked the database last, at most a second ago, and they may exceed one by what they
accept within that second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from smsd.domain.allowance import Allowance
from smsd.domain.errors import Invalid
from smsd.domain.numbers import clean
from smsd.domain.records import Draft
from smsd.domain.refusals import Asked, misdirected
from smsd.gateway.allowances import Allowances
from smsd.gateway.tally import Tally
from smsd.store.database import Database


class Quotas:
    """``clock`` gives seconds."""

    def __init__(
        self, database: Database, allowances: Allowances, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._allowances = allowances
        self._clock = clock
        self._tallies: dict[str, Tally] = {}

    def of(self, org_id: str) -> Allowance | None:
        """What limits the org's calls; None, and that is all that it costs, where nothing does."""
        return self._allowances.of(org_id)

    def opts_out(self, org_id: str) -> bool:
        """Whether the org keeps to it when a number says STOP."""
        return self._allowances.opt_outs(org_id) is not None

    async def arriving(
        self, org_id: str, allowed: Allowance, number: int
    ) -> AbstractContextManager[None]:
        """Within this context the org stores so many messages that arrived.

        Raises `StorageFull`.
        """
        return await self._tally(org_id).admit(allowed, Asked(arrivals=number))

    async def sending(
        self, org_id: str, allowed: Allowance, drafts: Sequence[Draft], *, lone: bool
    ) -> AbstractContextManager[None]:
        """Within this context the org stores these as tickets; ``lone``: they are not a list.

        Raises `Invalid`, `StorageFull`, `QueueFull` or `TooManySends`.
        """
        self.direct(allowed, drafts, lone=lone)
        return await self._tally(org_id).admit(allowed, Asked(sends=len(drafts)))

    def direct(self, allowed: Allowance, drafts: Sequence[Draft], *, lone: bool) -> None:
        """Raises `Invalid` where the org may not send to one of these."""
        if faults := misdirected(allowed, [clean(draft.to) for draft in drafts], lone=lone):
            raise Invalid("This org may not send to every number.", errors=faults)

    def prune(self) -> None:
        """Forget orgs that have done nothing lately."""
        for org_id in [org_id for org_id, tally in self._tallies.items() if tally.idle]:
            del self._tallies[org_id]

    def _tally(self, org_id: str) -> Tally:
        tally = self._tallies.get(org_id)
        if tally is None:
            tally = self._tallies[org_id] = Tally(self._database, org_id, self._clock)
        return tally
