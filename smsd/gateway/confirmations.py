"""What is answered to STOP, START and HELP: tickets with texts of the org's own, by the SIM that
heard the word.

The statement that stores the SMS writes down that it is to be answered: once for each STOP that
moved something, and nobody the same twice within an hour, so that two gateways cannot talk for
ever. Here that becomes a ticket, in one commit with the note that it is done; at once, and a
sweep finds what a crash left. Such a ticket goes also where its number has opted out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from twisted.logger import Logger

from smsd.domain.errors import Unavailable
from smsd.domain.numbers import DIALLABLE, address_key, clean, digits
from smsd.domain.opt_outs import OptOuts, says
from smsd.domain.records import Wish, new_ref
from smsd.gateway.allowances import Allowances
from smsd.gateway.bell import Bell
from smsd.gateway.feeding import Feeding
from smsd.gateway.spawn import Spawn
from smsd.store import limits, opt_outs
from smsd.store.database import Database
from smsd.store.messages import NewMessage
from smsd.store.opt_outs import Owed


class Confirmations:
    """Answers what is owed."""

    _log = Logger()

    def __init__(
        self,
        database: Database,
        allowances: Allowances,
        feeding: Feeding,
        bell: Bell,
        spawn: Spawn,
    ) -> None:
        self._database = database
        self._allowances = allowances
        self._feeding = feeding
        self._bell = bell
        self._spawn = spawn

    def heard(self, org_ids: AbstractSet[str], rows: Iterable[NewMessage]) -> None:
        """These SMS of these orgs are stored: answer those that say a word. Of an org that does
        not keep to it nothing is looked at."""
        keeping = self._allowances.keeping_to_stop(org_ids)
        if not keeping:
            return
        for org_id in {row.org_id for row in rows if row.org_id in keeping and says(row.body)}:
            self._spawn("answering opt-outs", self._soon(org_id))

    async def sweep(self) -> None:
        """Answer what is owed still, whoever was to do it."""
        for org_id in await opt_outs.owing_everywhere(self._database):
            await self._answer(org_id)

    async def _soon(self, org_id: str) -> None:
        with suppress(Unavailable):  # then the sweep does it
            await self._answer(org_id)

    async def _answer(self, org_id: str) -> None:
        own = (await limits.read(self._database, [org_id])).get(org_id)
        how = own.opt_outs if own is not None else None
        made = await opt_outs.answer(
            self._database, org_id, lambda owed: _tickets(org_id, how, owed)
        )
        if made:
            self._bell.ring(org_id)
            self._log.debug("org {org} answers {number} opt-outs", org=org_id, number=len(made))
        for key in {row.sim_key for row in made if row.sim_key}:
            self._feeding.enqueued(org_id, key)


def _tickets(org_id: str, how: OptOuts | None, owed: Sequence[Owed]) -> list[NewMessage]:
    """Nothing where the org has no text for it, or the sender is no number."""
    if how is None:
        return []
    return [
        _ticket(org_id, one, text)
        for one in owed
        if (text := how.answer(one.what)) and re.match(DIALLABLE, one.address)
    ]


def _ticket(org_id: str, owed: Owed, text: str) -> NewMessage:
    wish, to = Wish.of(owed.sim_number or owed.sim_slot), clean(owed.address)
    return NewMessage(
        org_id=org_id,
        status="queued",
        direction="out",
        address=to,
        address_key=address_key(to),
        body=text,
        sim_slot=wish.slot,
        sim_number=wish.number,
        sim_digits=digits(wish.number) if wish.number else None,
        sim_asked=wish.text,
        sim_key=wish.key,
        ref=new_ref(),
        answers=owed.message_id,
    )
