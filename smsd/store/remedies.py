"""What an operator may change by hand: a secret, a lock, where a ticket stands.

Each is one short transaction that a gateway which runs need not be told of: its doorman remembers
for a second, its dispatch looks for what waits every few seconds. What is deleted is
`smsd.store.erasure`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from smsd.store.database import Database, Transaction
from smsd.store.phones import NODE_TIMEOUT
from smsd.store.statements import named
from smsd.store.trouble import DataRefused

#: What stands for the pepper of an org whose secret nobody has.
CLOSED = "closed"

_CREATE = named("create_org")
_COUNTER = named("create_counter")
_REPLACE = named("replace_secret")
_KNOW = named("know_address")
_HOLD = named("hold_lock")
_UNLOCK = named("unlock_org")
_FORGET_FAILURES = named("forget_failures")
_CLOSED = named("closed_orgs")
_FIND = named("find_ticket")
_REQUEUE = named("requeue_ticket")
_FAIL = named("fail_ticket")


class NoGrace(Exception):
    """The old secret was fingerprinted under another pepper, and cannot work beside a new one."""


@dataclass(frozen=True, slots=True)
class Secret:
    """By what a secret is recognised from now on."""

    secret_hash: str = field(repr=False)
    secret_hmac: bytes = field(repr=False)
    pepper_id: str


class Standing(Struct, frozen=True):
    """A ticket; ``held``: it is with a phone that is on line."""

    status: str
    attempts: int
    held: bool


async def create(database: Database, org_id: str, secret: Secret) -> bool:
    """Make an org; whether the name was free."""

    async def created(tx: Transaction) -> bool:
        rows = await tx.run(
            _CREATE,
            org_id=org_id,
            secret_hash=secret.secret_hash,
            secret_hmac=secret.secret_hmac,
            pepper_id=secret.pepper_id,
        )
        await tx.run(_COUNTER, org_id=org_id)
        return bool(rows)

    return await database.transaction("create org", created)


async def replace_secret(
    database: Database,
    org_id: str,
    secret: Secret,
    *,
    grace: float = 0.0,
    present: bytes | None = None,
    address: str | None = None,
) -> datetime | None:
    """Give the org another secret; until when the old one works on.

    With ``present`` only where that is the fingerprint of the secret in force; from ``address``
    the new one is known then, so that a lock does not keep out whoever has set it.

    Raises `KeyError` where there is no such org and `NoGrace` where the grace cannot be given.
    """

    async def replace(tx: Transaction) -> datetime | None:
        rows = await tx.run(
            _REPLACE,
            org_id=org_id,
            secret_hash=secret.secret_hash,
            secret_hmac=secret.secret_hmac,
            pepper_id=secret.pepper_id,
            grace=grace,
            present=present,
        )
        if not rows:
            raise KeyError(org_id)
        ((until,),) = rows
        if grace and until is None:
            raise NoGrace
        if address is not None:
            await tx.run(_KNOW, org_id=org_id, address=address, hmac=secret.secret_hmac)
        return until  # type: ignore[no-any-return]

    return await database.transaction("replace secret", replace)


async def unlock(database: Database, org_id: str) -> bool:
    """Let everybody try again, and forget all failures; whether there is such an org."""

    async def unlocked(tx: Transaction) -> None:
        await tx.run(_HOLD, org_id=org_id)
        await tx.run(_UNLOCK, org_id=org_id, locked_until="-infinity")
        await tx.run(_FORGET_FAILURES, org_id=org_id)

    try:
        await database.transaction("unlock", unlocked)
    except DataRefused:  # a lock belongs to an org that exists
        return False
    return True


async def closed_orgs(database: Database, org_ids: Sequence[str]) -> list[str]:
    """Which of these orgs are closed, or are no more."""
    return [org_id for (org_id,) in await database.run(_CLOSED, org_ids=list(org_ids))]


async def find(database: Database, org_id: str, ticket_id: int) -> Standing | None:
    """Where the ticket stands; None where the org has no such ticket."""
    rows = await database.run(_FIND, org_id=org_id, id=ticket_id, node_timeout=NODE_TIMEOUT)
    return Standing(*rows[0]) if rows else None


async def requeue(database: Database, org_id: str, ticket_id: int) -> bool:
    """Let a ticket that no phone on line holds wait again; whether it was such a one."""
    return bool(
        await database.run(_REQUEUE, org_id=org_id, id=ticket_id, node_timeout=NODE_TIMEOUT)
    )


async def fail(database: Database, org_id: str, ticket_id: int, detail: str) -> bool:
    """End a ticket; whether it had not ended before."""
    return bool(await database.run(_FAIL, org_id=org_id, id=ticket_id, detail=detail))
