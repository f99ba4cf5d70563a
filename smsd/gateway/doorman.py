"""Claim, recognise, lock: an OrgId and a secret become a `Caller` (contract section 1).

The common case asks nobody: what the database said of this org and this address is good for a
second. Only an address that is not known to hold this very secret takes the slow road, on which
an attempt is counted as failed *before* it is verified, so that guesses made in parallel cannot
beat the count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from smsd.domain.credentials import Credentials, well_formed_org_id
from smsd.domain.errors import Invalid, Locked, Unauthorised
from smsd.domain.keys import Key, Scope
from smsd.domain.pepper import Pepper, same
from smsd.gateway.acquaintance import Acquaintance
from smsd.gateway.allowances import Allowances
from smsd.gateway.claims import OPEN, ClaimPolicy
from smsd.gateway.hashing import Hashing
from smsd.gateway.keyring import Keyring
from smsd.gateway.limits import Limit
from smsd.gateway.neighbourhood import neighbourhood
from smsd.gateway.turns import Turns
from smsd.store import orgs
from smsd.store.database import Database, Transaction
from smsd.store.trouble import DataRefused

WAITING = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who has proven to belong to the org; by a ``key``, where not by its secret."""

    org_id: str
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who may claim an OrgId that nobody has."""

    credentials: Credentials
    address: str

    @property
    def org_id(self) -> str:
        return self.credentials.org_id or ""


class Doorman:
    """Stands before every call that belongs to an org."""

    _log = Logger()

    def __init__(
        self,
        database: Database,
        pepper: Pepper,
        hashing: Hashing,
        *,
        reactor: Any,
        claims: ClaimPolicy = OPEN,
        allowances: Allowances | None = None,
        max_failures_per_minute: int = 0,
        max_claims_per_hour: int = 0,
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._hashing = hashing
        self._claims = claims
        learn = (allowances or Allowances()).learn
        self._acquaintance = Acquaintance(database, reactor, learn)
        self.keyring = Keyring(database, reactor, learn)
        self.lanes = (*self._acquaintance.lanes, *self.keyring.lanes)
        #: Orgs that were claimed, secrets that were wrong, locks that these brought about.
        self.claims = self.wrong_secrets = self.locks = 0
        self._attempts: Turns[Caller] = Turns(WAITING, "attempts for this OrgId")
        self._failures = Limit(
            reactor.seconds, max_failures_per_minute, 60, "failed attempts a minute"
        )
        self._claimed = Limit(reactor.seconds, max_claims_per_hour, 3600, "claims an hour")

    async def recognise(
        self,
        credentials: Credentials,
        address: str,
        *,
        claim: bool = False,
        claim_token: str | None = None,
    ) -> Caller | Newcomer:
        """Who is asking, from ``address``; with ``claim`` an unknown org gives a `Newcomer`.

        Raises `Unauthorised`, `Locked`, `TooMany` or `Unavailable`, and `Invalid` where the call
        would claim an unknown org with credentials of the wrong shape.
        """
        address = neighbourhood(address)
        self._failures.check(address)
        org_id, secret = credentials.org_id, credentials.secret
        if org_id is None or not well_formed_org_id(org_id):
            raise self._unclaimable(credentials, claim, claim_token) or Unauthorised()
        if secret is None:
            raise Unauthorised()
        seal = self._pepper.seal(org_id, secret)
        known = await self._acquaintance.of(org_id, address)
        if known is None:
            if refusal := self._unclaimable(credentials, claim, claim_token):
                raise refusal
            return Newcomer(credentials, address)
        try:
            if known.vouches_for(seal):
                await self._acquaintance.refresh(org_id, address, known)
                return Caller(org_id)
            return await self._attempts.take(
                org_id, lambda: self._attempt(org_id, secret, seal, address)
            )
        except DataRefused:  # the org was deleted since we looked
            raise Unauthorised() from None

    async def open(self, org_id: str | None, key: str, scopes: tuple[Scope, ...] | None) -> Caller:
        """Whoever shows this API key; raises what `Keyring.open` does."""
        found = await self.keyring.open(org_id, key, scopes)
        return Caller(found.org_id, found)

    async def claim(
        self,
        newcomer: Newcomer,
        first: Callable[[Transaction], Awaitable[object]] | None = None,
    ) -> tuple[Caller, bool]:
        """Create the org, and do ``first`` in the same commit.

        The second value says whether it was this call that created it; if not, somebody else was
        first, the newcomer was checked against the winner's secret, and ``first`` was not done.
        Raises `TooMany` or `GatewayFull` where a limit is reached.
        """
        self._claimed.count(newcomer.address)
        won = False
        try:
            await self._claims.look(self._database)
            won = await self._create(newcomer, first)
        finally:
            if not won:
                self._claimed.take_back(newcomer.address)
        self._acquaintance.forget(newcomer.org_id)
        if won:
            self.claims += 1
            self._log.info("org {org} was claimed", org=newcomer.org_id)
            return Caller(newcomer.org_id), True
        caller = await self.recognise(newcomer.credentials, newcomer.address)
        assert isinstance(caller, Caller)
        return caller, False

    def renew(
        self, claims: ClaimPolicy, *, max_failures_per_minute: int, max_claims_per_hour: int
    ) -> None:
        """Judge by these from here on."""
        self._claims = claims
        self._failures.allow(max_failures_per_minute)
        self._claimed.allow(max_claims_per_hour)

    def forget(self, org_id: str) -> None:
        """Something of this org has changed: look again."""
        self._acquaintance.forget(org_id)

    def prune(self) -> None:
        """Forget what no longer counts."""
        self._failures.prune()
        self._claimed.prune()
        self._acquaintance.prune()
        self.keyring.prune()

    async def _create(
        self, newcomer: Newcomer, first: Callable[[Transaction], Awaitable[object]] | None
    ) -> bool:
        org_id, secret = newcomer.org_id, newcomer.credentials.secret or ""
        org = orgs.NewOrg(
            org_id=org_id,
            secret_hash=await self._hashing.hash(secret),
            secret_hmac=self._pepper.seal(org_id, secret),
            pepper_id=self._pepper.id,
            address=newcomer.address,
        )

        async def create(tx: Transaction) -> bool:
            await self._claims.begin(tx)
            won = await orgs.create(tx, org)
            if won:
                await self._claims.count(tx)
            if won and first is not None:
                await first(tx)
            return won

        return await self._database.transaction("claim org", create)

    def _unclaimable(
        self, credentials: Credentials, claim: bool, token: str | None
    ) -> Unauthorised | Invalid | None:
        """Why an org that does not exist cannot be claimed by this call, if it cannot."""
        if not claim or not self._claims.admits(token) or credentials.secret is None:
            return Unauthorised()
        faults = credentials.faults()
        return Invalid("This org cannot be claimed.", errors=faults) if faults else None

    async def _attempt(self, org_id: str, secret: str, seal: bytes, address: str) -> Caller:
        known = await self._acquaintance.of(org_id, address)
        if known is None:
            raise Unauthorised()
        if known.vouches_for(seal):  # another attempt of the same client was first
            return Caller(org_id)
        if known.locked_for:
            raise Locked(retry_after=known.locked_for)
        self._failures.count(address)
        wrong = False
        try:
            wrong = not await self._reserve_and_verify(org_id, secret, seal, address)
        finally:
            self._acquaintance.forget(org_id)
            if not wrong:
                self._failures.take_back(address)
        if wrong:
            raise Unauthorised()
        return Caller(org_id)

    async def _reserve_and_verify(
        self, org_id: str, secret: str, seal: bytes, address: str
    ) -> bool:
        reserved = await self._database.transaction(
            "reserve failure", lambda tx: orgs.reserve(tx, org_id, address)
        )
        if isinstance(reserved, orgs.Shut):
            raise Locked(retry_after=reserved.seconds)
        if not await self._right(org_id, secret, seal):
            self.wrong_secrets += 1
            if reserved.lock_before is not None:
                self.locks += 1
                self._log.warn("org {org} is locked: too many wrong secrets", org=org_id)
            return False
        await self._database.transaction(
            "forgive", lambda tx: orgs.forgive(tx, org_id, address, seal, reserved)
        )
        return True

    async def _right(self, org_id: str, secret: str, seal: bytes) -> bool:
        """The verdict on a secret, after its attempt was counted."""
        org = await orgs.find(self._database, org_id)
        if org is None:
            return False
        if org.pepper_id == self._pepper.id:
            return same(seal, org.secret_hmac) or same(seal, org.old_hmac)
        if not await self._hashing.matches(org.secret_hash, secret):
            return False
        await orgs.renew(self._database, org_id, org.secret_hash, seal, self._pepper.id)
        return True
