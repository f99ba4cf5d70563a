"""What a command has at hand: the database, the terminal, the settings, and its own words."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from smsd.domain.credentials import Credentials
from smsd.domain.pepper import Pepper
from smsd.domain.settings import Settings
from smsd.gateway.hashing import Hashing
from smsd.repair.endings import Ended, Misused
from smsd.repair.terminal import Terminal
from smsd.store import keepsakes
from smsd.store.database import Database
from smsd.store.remedies import Secret

#: Seconds between two looks at something that others must do first.
GLANCE = 0.2


@dataclass(frozen=True)
class Desk:
    """One command being carried out; ``asked`` are its options by name."""

    reactor: Any
    database: Database
    terminal: Terminal
    settings: Settings
    home: Path
    asked: Mapping[str, Any]

    async def seal(self, org_id: str, secret: str) -> Secret:
        """What is written down of a secret."""
        hashing = Hashing(self.reactor, secrets.SystemRandom().random)
        hashing.start()
        try:
            hashed = await hashing.hash(secret)
        finally:
            hashing.stop()
        pepper = self._pepper()
        return Secret(hashed, pepper.seal(org_id, secret), pepper.id)

    def _pepper(self) -> Pepper:
        """The gateway's. Where it keeps one that is not here, any will do: the first caller's
        secret is then verified by its hash, and sealed anew. None is ever made here, for the
        gateway could not read what belongs to us."""
        if self.settings.pepper is not None:
            return Pepper(self.settings.pepper.encode())
        if (self.home / keepsakes.PEPPER).exists():
            return keepsakes.pepper(self.home)
        return Pepper(secrets.token_bytes(keepsakes.PEPPER_BYTES))

    def new_secret(self, org_id: str) -> tuple[str, bool]:
        """The secret that is to be set, and whether it was made here and must be shown."""
        made = not self.asked["secret-stdin"]
        secret = secrets.token_hex(16) if made else self.terminal.secret()
        for fault in Credentials(org_id, secret).faults():
            name = {"org_id": "The OrgId", "secret_key": "The SecretKey"}[str(fault.loc[0])]
            raise Misused(f"{name} must have {fault.msg}.")
        return secret, made

    def number(self, name: str, least: int, most: int) -> int:
        """An option that is a whole number."""
        text = str(self.asked[name])
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if not least <= value <= most:
            raise Misused(f"--{name} {text!r}: a whole number from {least} to {most:,}.")
        return value

    async def until(
        self, look: Callable[[], Awaitable[bool]], *, within: float, doing: str, otherwise: str
    ) -> None:
        """Look until it is so; raises `Ended` with ``otherwise`` where it is not in time."""
        told = self.terminal.progress(doing)
        end = self.reactor.seconds() + within
        while not await look():
            if self.reactor.seconds() >= end:
                raise Ended(otherwise)
            told(0)
            await deferLater(self.reactor, GLANCE)
