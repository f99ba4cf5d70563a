"""An org says how it keeps to STOP, and sees, writes down and lifts who wants to hear nothing more.

What numbers say themselves is acted upon where it is stored, and tickets are refused where they
are stored and claimed (`smsd.store`). What is answered is `smsd.gateway.confirmations`'.
"""

from __future__ import annotations

from typing import NamedTuple

from twisted.logger import Logger

from smsd.domain.errors import Unauthorised
from smsd.domain.numbers import address_key, masked
from smsd.domain.opt_outs import OptOuts
from smsd.gateway.allowances import Allowances
from smsd.gateway.doorman import Caller
from smsd.store import limits, opt_outs
from smsd.store.database import Database
from smsd.store.opt_outs import OptedOut
from smsd.store.trouble import DataRefused


class Page(NamedTuple):
    """A page of the list, and whether there is more behind it."""

    numbers: list[OptedOut]
    more: bool


class Consent:
    """The lists of the orgs, as their people and programs manage them."""

    _log = Logger()

    def __init__(self, database: Database, allowances: Allowances) -> None:
        self._database = database
        self._allowances = allowances

    async def how(self, caller: Caller) -> OptOuts | None:
        """How the org keeps to STOP; None: it does not."""
        own = (await limits.read(self._database, [caller.org_id])).get(caller.org_id)
        return None if own is None else own.opt_outs

    async def set_how(self, caller: Caller, how: OptOuts | None) -> OptOuts | None:
        """From the commit on the org keeps to it like this, or (None) does not."""
        try:
            own = await opt_outs.set_how(self._database, caller.org_id, how)
        except DataRefused:  # the org was deleted meanwhile
            raise Unauthorised() from None
        self._allowances.learn(caller.org_id, own)
        self._log.info(
            "org {org} keeps to STOP: {scope}",
            org=caller.org_id,
            scope="no" if how is None else how.scope,
        )
        return own.opt_outs

    async def page(self, caller: Caller, *, after: tuple[str, str], most: int) -> Page:
        """So many of the list, after a pair of key and SIM."""
        found = await opt_outs.listed(self._database, caller.org_id, after=after, most=most + 1)
        return Page(found[:most], len(found) > most)

    async def of(self, caller: Caller, number: str) -> list[OptedOut]:
        """What the list has of one number."""
        return await opt_outs.of(self._database, caller.org_id, address_key(number))

    async def add(self, caller: Caller, number: str) -> list[OptedOut]:
        """Write down that a number wants to hear nothing more; what the list has of it then."""
        try:
            await opt_outs.add(self._database, caller.org_id, address_key(number), number)
        except DataRefused:  # the org was deleted meanwhile
            raise Unauthorised() from None
        self._tell(caller, number, "put on")
        return await self.of(caller, number)

    async def lift(self, caller: Caller, number: str) -> bool:
        """The number may be sent to again; whether it was on the list."""
        lifted = await opt_outs.lift(self._database, caller.org_id, address_key(number))
        if lifted:
            self._tell(caller, number, "taken from")
        return lifted

    def _tell(self, caller: Caller, number: str, how: str) -> None:
        self._log.info(
            "{number} was {how} the list of opt-outs of org {org}",
            number=masked(number),
            how=how,
            org=caller.org_id,
        )
