"""What each org is allowed, as far as this node has heard: the settings, and the operator's word
for single orgs.

Nobody asks the database for it on behalf of a call. The doorman hears it with every recognition,
which is at most a second old; for phones, which are recognised once, it is read again every few
seconds. An org without limits costs one look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from smsd.domain.allowance import Allowance, Own
from smsd.domain.opt_outs import OptOuts
from smsd.store import limits
from smsd.store.database import Database

UNLIMITED = Allowance()


class Allowances:
    """``default`` holds for every org, but for what is its own."""

    def __init__(self, default: Allowance = UNLIMITED) -> None:
        self._own: dict[str, Own] = {}
        self._of: dict[str, Allowance | None] = {}
        self._paced: dict[str, Own] = {}
        #: How orgs keep to STOP, those that do.
        self._opting: dict[str, OptOuts] = {}
        self.renew(default)

    def of(self, org_id: str) -> Allowance | None:
        """What limits the org's calls; None where nothing does."""
        return self._of.get(org_id, self._default)

    def paced(self, org_id: str) -> Own | None:
        """What is set for the org's SIMs; None where none of them is paced."""
        return self._paced.get(org_id)

    def opt_outs(self, org_id: str) -> OptOuts | None:
        """How the org keeps to STOP; None where it does not."""
        return self._opting.get(org_id)

    def keeping_to_stop(self, org_ids: AbstractSet[str]) -> AbstractSet[str]:
        """Those of these orgs that do."""
        return self._opting.keys() & org_ids

    def learn(self, org_id: str, own: Own | None) -> None:
        """This is the operator's word for the org; None where there is none."""
        if own != self._own.get(org_id):
            self._forget(org_id)
            if own is not None:
                self._own[org_id] = own
                self._of[org_id] = _limiting(own.over(self.default))
                if own.has_paces:
                    self._paced[org_id] = own
                if own.opt_outs is not None:
                    self._opting[org_id] = own.opt_outs

    def renew(self, default: Allowance) -> None:
        """The settings say this from here on."""
        self.default = default
        self._default = _limiting(default)
        self._of = {org_id: _limiting(own.over(default)) for org_id, own in self._own.items()}

    async def look(self, database: Database, org_ids: Collection[str]) -> None:
        """Hear the operator's word for all of these."""
        own = await limits.read(database, list(org_ids)) if org_ids else {}
        for org_id in org_ids:
            self.learn(org_id, own.get(org_id))

    def _forget(self, org_id: str) -> None:
        self._own.pop(org_id, None)
        self._of.pop(org_id, None)
        self._paced.pop(org_id, None)
        self._opting.pop(org_id, None)


def _limiting(allowance: Allowance) -> Allowance | None:
    return allowance if allowance.limits_traffic else None
