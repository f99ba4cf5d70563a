"""Orgs as the doorman sees them: their secrets, their lock and the addresses known to be theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from smsd.domain.allowance import Own
from smsd.domain.records import jsoned
from smsd.store import limits
from smsd.store.database import Database, Transaction
from smsd.store.statements import named

#: Failures count for so long; so many lock an org, for so long (contract section 1). Seconds.
FAILURE_WINDOW, FAILURES, LOCK = 900, 10, 300
ADDRESSES = 256

_FIND = named("find_org")
_RECALL = named("recall_address")
_CREATE = named("create_org")
_COUNTER = named("create_counter")
_RENEW = named("renew_hmac")
_HOLD = named("hold_lock")
_RESERVE = named("reserve_failure")
_LOCK = named("lock_org")
_UNLOCK = named("unlock_org")
_FORGIVE = named("forgive_address")
_KNOW = named("know_address")
_PRUNE_FAILURES = named("prune_failures_everywhere")
_PRUNE_ADDRESSES = named("prune_addresses_everywhere")


@dataclass(frozen=True, slots=True)
class Verifiers:
    """By what an org's secret is recognised. ``old_hmac``: the one before the last rotation."""

    secret_hmac: bytes = field(repr=False)
    pepper_id: str
    old_hmac: bytes | None = field(repr=False)
    secret_hash: str = field(repr=False, default="")


class Asked(Struct, frozen=True):
    """An org, and the address from which it is asked for."""

    org_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """An org as one address may see it.

    ``hmac`` is of the secret that was right from there within a day, None where the address has
    failed since; ``locked_for`` is in seconds, 0 where the org is not locked for strangers;
    ``limits`` are the operator's for this org alone.
    """

    verifiers: Verifiers
    hmac: bytes | None = field(repr=False)
    right_lately: bool
    locked_for: int
    limits: Own | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """An attempt that was counted as failed before it was verified.

    ``lock_before`` is the lock that this very reservation replaced, None where it set none.
    """

    lock_before: str | None


@dataclass(frozen=True, slots=True)
class Shut:
    """The org is locked for so many seconds more."""

    seconds: int


@dataclass(frozen=True, slots=True)
class NewOrg:
    """What is written of an org when it is claimed."""

    org_id: str
    secret_hash: str = field(repr=False)
    secret_hmac: bytes = field(repr=False)
    pepper_id: str
    address: str


async def recall(database: Database, asked: Sequence[Asked]) -> list[Recalled | None]:
    """Each org with what is known of the address, or None where there is no such org."""
    found: list[Recalled | None] = [None] * len(asked)
    rows = [{"ord": at, "org_id": a.org_id, "address": a.address} for at, a in enumerate(asked)]
    for at, hmac, pepper_id, old_hmac, known_hmac, lately, locked_for, own in await database.run(
        _RECALL, rows=jsoned(rows)
    ):
        verifiers = Verifiers(bytes(hmac), pepper_id, _bytes(old_hmac))
        found[at] = Recalled(verifiers, _bytes(known_hmac), lately, locked_for, limits.own(own))
    return found


async def find(database: Database, org_id: str) -> Verifiers | None:
    """The org with the hash of its secret, or None where there is no such org."""
    rows = await database.run(_FIND, org_id=org_id)
    if not rows:
        return None
    ((_, secret_hash, secret_hmac, pepper_id, old_hmac),) = rows
    return Verifiers(bytes(secret_hmac), pepper_id, _bytes(old_hmac), secret_hash)


async def reserve(tx: Transaction, org_id: str, address: str) -> Reservation | Shut:
    """Count an attempt as failed, or say that the org is locked and count nothing."""
    ((seconds,),) = await tx.run(_HOLD, org_id=org_id)
    if seconds:
        return Shut(seconds)
    ((failures,),) = await tx.run(_RESERVE, org_id=org_id, address=address, window=FAILURE_WINDOW)
    if failures < FAILURES:
        return Reservation(None)
    ((before,),) = await tx.run(_LOCK, org_id=org_id, seconds=LOCK)
    return Reservation(before)


async def forgive(
    tx: Transaction, org_id: str, address: str, hmac: bytes, reservation: Reservation
) -> None:
    """The reserved attempt was right after all: take it back, and know the address."""
    if reservation.lock_before is not None:
        await tx.run(_UNLOCK, org_id=org_id, locked_until=reservation.lock_before)
    await tx.run(_FORGIVE, org_id=org_id, address=address)
    await tx.run(_KNOW, org_id=org_id, address=address, hmac=hmac)


async def know(database: Database, org_id: str, address: str, hmac: bytes) -> None:
    """Note that this secret was right from this address just now."""
    await database.run(_KNOW, org_id=org_id, address=address, hmac=hmac)


async def create(tx: Transaction, org: NewOrg) -> bool:
    """Claim the name, or say that somebody else was first."""
    rows = await tx.run(
        _CREATE,
        org_id=org.org_id,
        secret_hash=org.secret_hash,
        secret_hmac=org.secret_hmac,
        pepper_id=org.pepper_id,
    )
    if not rows:
        return False
    await tx.run(_COUNTER, org_id=org.org_id)
    await tx.run(_KNOW, org_id=org.org_id, address=org.address, hmac=org.secret_hmac)
    return True


async def renew(
    database: Database, org_id: str, secret_hash: str, hmac: bytes, pepper_id: str
) -> None:
    """Write the HMAC under the present pepper of a secret that argon2id has vouched for."""
    await database.run(
        _RENEW, org_id=org_id, secret_hash=secret_hash, secret_hmac=hmac, pepper_id=pepper_id
    )


async def prune_everywhere(database: Database) -> None:
    """Drop failures that no longer count and addresses that are no longer known."""
    await database.run(_PRUNE_FAILURES, window=FAILURE_WINDOW)
    await database.run(_PRUNE_ADDRESSES, most=ADDRESSES)


def _bytes(value: memoryview | bytes | None) -> bytes | None:
    return None if value is None else bytes(value)
