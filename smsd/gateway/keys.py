"""An org makes, sees and deletes its API keys, and what follows where a key has ended: phones that
hold it must go.

Who may do it is the face's question to the doorman; how a key is recognised, `keyring`'s part.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from twisted.logger import Logger

from smsd.domain.errors import KeysFull, Superseded, UnknownKey, WrongKey
from smsd.domain.keys import CHANCE, MARK, fingerprint
from smsd.gateway.attendance import Attendance
from smsd.gateway.doorman import Caller, Doorman
from smsd.gateway.roster import Roster
from smsd.gateway.rotation import Keeper
from smsd.store import keys
from smsd.store.database import Database
from smsd.store.keys import KeySeen, NewKey


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key with its text, which nobody can read again."""

    text: str = field(repr=False)
    seen: KeySeen


class Keys:
    """The keys of all orgs, as their people manage them."""

    _log = Logger()

    def __init__(
        self, database: Database, doorman: Doorman, roster: Roster, attendance: Attendance
    ) -> None:
        self._database = database
        self._doorman = doorman
        self._roster = roster
        self._attendance = attendance

    async def make(self, keeper: Keeper, new: NewKey) -> MadeKey:
        """Make a key. Raises `Superseded` where the secret that was shown is no more than an old
        one, whose holder may have no key that outlives it, and `KeysFull`."""
        text, key_id = MARK + secrets.token_urlsafe(CHANCE), secrets.token_hex(6)
        made = await keys.make(
            self._database,
            keeper.org_id,
            new,
            key_id=key_id,
            hashed=fingerprint(text) or "",
            present=keeper.seal,
        )
        if made.created_at is None:
            raise (
                KeysFull
                if made.keys >= keys.MOST
                else Superseded(
                    "This secret was replaced and only works on for its grace: make keys with the "
                    "present one."
                )
            )
        self._log.info(
            "org {org} has made key {key}: {scopes}",
            org=keeper.org_id,
            key=key_id,
            scopes=" ".join(new.scopes),
        )
        return MadeKey(text, await self.one(Caller(keeper.org_id), key_id))

    async def all(self, caller: Caller) -> list[KeySeen]:
        """The org's keys in the order in which they were made."""
        return await keys.read(self._database, caller.org_id)

    async def one(self, caller: Caller, key_id: str) -> KeySeen:
        """One of them; raises `UnknownKey`."""
        found = await keys.read(self._database, caller.org_id, key_id) if _is_id(key_id) else []
        if not found:
            raise UnknownKey
        return found[0]

    async def delete(self, caller: Caller, key_id: str) -> None:
        """From now on the key opens nothing, and its phones are sent away; raises `UnknownKey`."""
        org_id = caller.org_id
        try:
            if not _is_id(key_id) or not await keys.delete(self._database, org_id, key_id):
                raise UnknownKey
        finally:  # also where the answer of the database was lost
            self._doorman.keyring.forget(org_id)
        self._log.info("org {org} has deleted key {key}", org=org_id, key=key_id)
        self._dismiss({(org_id, key_id)})

    async def dismiss_ended(self) -> None:
        """Keys end on other nodes too, and by themselves: their phones go.

        To be called every second; without a phone that holds a key nothing is asked.
        """
        held = {visit.held_key for visit in self._roster.keyed if visit.held_key is not None}
        if held:
            self._dismiss(set(await keys.ended(self._database, sorted(held))))

    def _dismiss(self, ended: set[tuple[str, str]]) -> None:
        for visit in [visit for visit in self._roster.keyed if visit.held_key in ended]:
            visit.phone.close(WrongKey("The API key of this phone has expired or was deleted."))
            self._attendance.end(visit, "its key has ended")


def _is_id(text: str) -> bool:
    return len(text) == 12 and all(digit in "0123456789abcdef" for digit in text)
