"""An org changes its own secret: who shows the present one may set the next.

The operator's way is `smsd.repair`'s; both write through `smsd.store.remedies`. Phones that are
connected stay, for a session is asked for its secret once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from twisted.logger import Logger

from smsd.domain.credentials import SECRET_RULE, Credentials, well_formed_secret
from smsd.domain.errors import Fault, Invalid, Superseded, Unavailable
from smsd.domain.pepper import Pepper, same
from smsd.gateway.doorman import Doorman
from smsd.gateway.hashing import Hashing
from smsd.gateway.neighbourhood import neighbourhood
from smsd.store import remedies
from smsd.store.database import Database
from smsd.store.remedies import NoGrace, Secret

#: What a fault is told of.
FIELD = "new_secret_key"


@dataclass(frozen=True, slots=True)
class Keeper:
    """Somebody who has shown a secret of the org that is right: its fingerprint, and from where."""

    org_id: str
    seal: bytes = field(repr=False)
    address: str


class Rotation:
    """Gives orgs another secret when they ask for it."""

    _log = Logger()

    def __init__(
        self, database: Database, doorman: Doorman, pepper: Pepper, hashing: Hashing
    ) -> None:
        self._database = database
        self._doorman = doorman
        self._pepper = pepper
        self._hashing = hashing

    async def keeper(self, credentials: Credentials, address: str) -> Keeper:
        """Who is asking; raises what `Doorman.recognise` does."""
        caller = await self._doorman.recognise(credentials, address)
        seal = self._pepper.seal(caller.org_id, credentials.secret or "")
        return Keeper(caller.org_id, seal, neighbourhood(address))

    async def rotate(self, keeper: Keeper, secret: str, grace: int) -> datetime | None:
        """Set the secret; until when the one that was shown works on, None where no longer.

        ``grace`` is in seconds. Raises `Invalid` where this can be no new secret and `Superseded`
        where the one that was shown is itself no more than an old one.
        """
        seal = self._pepper.seal(keeper.org_id, secret)
        if fault := _fault(secret, again=same(seal, keeper.seal)):
            raise Invalid(errors=[Fault([FIELD], fault)])
        sealed = Secret(await self._hashing.hash(secret), seal, self._pepper.id)
        try:
            until = await remedies.replace_secret(
                self._database,
                keeper.org_id,
                sealed,
                grace=grace,
                present=keeper.seal,
                address=keeper.address,
            )
        except KeyError:  # also where another rotation was quicker
            raise Superseded from None
        except NoGrace:  # a node with another pepper has sealed it anew since we looked
            raise Unavailable from None
        finally:
            self._doorman.forget(keeper.org_id)
        self._log.info("org {org} has set another secret", org=keeper.org_id)
        return until


def _fault(secret: str, *, again: bool) -> str:
    if not well_formed_secret(secret):
        return f"must have {SECRET_RULE}"
    return "must be another than the present one" if again else ""
