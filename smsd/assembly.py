"""The whole gateway, put together from the bottom to the top, and taken apart again.

Everything that the floors below are given (time, chance, the reactor, names) comes from here.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from smsd.domain.errors import ShuttingDown, Unavailable
from smsd.domain.pepper import Pepper
from smsd.domain.settings import Settings
from smsd.gateway.attendance import Attendance
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller, ClaimPolicy, Doorman
from smsd.gateway.hashing import Hashing
from smsd.gateway.inbox import Inbox
from smsd.gateway.outbox import Outbox
from smsd.gateway.patience import Patience
from smsd.gateway.results import Results
from smsd.gateway.resumption import Resumption, Rules
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.gateway.upkeep import Upkeep
from smsd.gateway.visit import Limits
from smsd.phone.desk import Gateway
from smsd.phone.door import PhoneDoor
from smsd.phone.factory import LinkFactory
from smsd.rest.api import Api
from smsd.rest.channel import Site
from smsd.rest.pages import pages
from smsd.rest.services import Services
from smsd.store import keepsakes, phones
from smsd.store.database import Database
from smsd.store.embedded import PostgresUnusable, PrivatePostgres
from smsd.store.home import made_home, occupied, settle
from smsd.store.keepsakes import NodeName
from smsd.store.migrate import migrate
from smsd.store.statements import named
from smsd.welcome import welcome

#: Results in flight are taken for so long at a shutdown. Seconds.
LAST_RESULTS = 5.0

_VERSION = named("version")


def assemble(
    settings: Settings,
    reactor: Any,
    *,
    announce: Callable[[str], None],
    failed: Callable[[str], None],
) -> MultiService:
    """The gateway as a service.

    When it is up ``announce`` gets the text for the terminal; where it cannot start ``failed``
    gets the reason, in one line.
    """
    return Smsd(settings, reactor, announce, failed)


async def check_database(settings: Settings, reactor: Any) -> str:
    """Whether the database answers, in a sentence; raises `RuntimeError` where it does not."""
    async with AsyncExitStack() as stack:
        try:
            home, _ = _home(settings)
            if settings.database is None and not occupied(home):
                return f"No database yet: the first start makes a private one in {home}."
            database = await _database(settings, reactor, home, stack)
            ((version,),) = await database.run(_VERSION)
        except (Unavailable, PostgresUnusable) as error:
            raise RuntimeError(str(error)) from None
        return f"The database answers: PostgreSQL {version}."


class Smsd(MultiService):
    """The gateway: starts from the database up, stops from the listeners down."""

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        announce: Callable[[str], None],
        failed: Callable[[str], None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._reactor = reactor
        self._announce = announce
        self._failed = failed
        self._stack = AsyncExitStack()
        self._stopping = False

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        self._stopping = True
        stopped = super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop(stopped))

    async def _start(self) -> None:
        try:
            await self._build()
        except Exception as error:
            if self._stopping:
                return
            if not isinstance(error, RuntimeError | Unavailable | OSError | CannotListenError):
                self._log.failure("the start failed")
            self._failed(f"cannot start: {error}")

    async def _stop(self, children: Awaitable[object] | None) -> None:
        try:
            await self._stack.aclose()
        except Exception:  # every other part was stopped all the same
            self._log.failure("the stop was not clean")
        if children is not None:
            await children

    async def _build(self) -> None:
        settings, reactor, stack = self._settings, self._reactor, self._stack
        home, notice = _home(settings)
        if notice is not None:
            self._announce(notice)
        database = await _database(settings, reactor, home, stack)
        await migrate(database)
        parts = Parts(settings, reactor, database, home)
        stack.callback(parts.node.release)
        parts.hashing.start()
        stack.callback(parts.hashing.stop)
        await parts.begin()
        stack.push_async_callback(parts.end)
        site = Site(
            parts.api(self._missing),
            reactor,
            settings.proxies,
            settings.max_connections_per_address,
        )
        urls = []
        for endpoint in settings.endpoints:
            port = await serverFromString(reactor, endpoint).listen(site)
            stack.push_async_callback(_stop_listening, port)
            urls += _urls(endpoint, port.getHost())
        stack.callback(site.retire)
        self._listening = True
        self._database = database
        self._log.info("listening on {where}", where=", ".join(urls) or "no TCP port")
        self._announce(welcome(urls, home))

    _listening = False
    _database: Database

    async def _missing(self) -> list[str]:
        """What is not there of all that requests need, in words."""
        if self._stopping or not self._listening:
            return ["the listeners are not up"]
        try:
            await self._database.run(_VERSION)
        except Unavailable:
            return ["the database does not answer"]
        return []


class Parts:
    """The object graph above an open database."""

    def __init__(self, settings: Settings, reactor: Any, database: Database, home: Path) -> None:
        self._settings = settings
        self._reactor = reactor
        self._database = database
        self.node = NodeName(home)
        self._spawn = Spawn()
        self._patience = Patience(reactor, random.random)
        self.hashing = Hashing(reactor, random.random)
        self._doorman = Doorman(
            database,
            _pepper(settings, home),
            self.hashing,
            clock=reactor.seconds,
            claims=ClaimPolicy(settings.claims, settings.claim_token),
            max_failures_per_minute=settings.max_failures_per_minute,
            max_claims_per_hour=settings.max_claims_per_hour,
        )
        self._roster = Roster(reactor.seconds)
        self._resumption = Resumption(database, Rules(settings.resume_grace, settings.max_attempts))
        self._dispatch = Dispatch(
            database, self._roster, self._resumption, self._spawn, self._patience
        )
        self._attendance = Attendance(
            database,
            self._roster,
            self._dispatch,
            self._spawn,
            self._patience,
            node_id=self.node.node_id,
            clock=time.time,
            new_id=lambda: str(uuid.uuid4()),
            limits=Limits(settings.window, settings.unanswered),
        )
        self._inbox = Inbox(database, self._doorman)
        self._outbox = Outbox(database, self._roster, self._dispatch)
        self._results = Results(database, self._roster, self._dispatch, self._patience)
        self._upkeep = Upkeep(
            reactor=reactor,
            database=database,
            doorman=self._doorman,
            roster=self._roster,
            dispatch=self._dispatch,
            attendance=self._attendance,
            spawn=self._spawn,
            node_id=self.node.node_id,
            confirm_timeout=settings.confirm_timeout,
            unconfirmed=settings.unconfirmed,
            max_attempts=settings.max_attempts,
        )
        self._links = LinkFactory(
            reactor,
            Gateway(
                self._doorman,
                self._attendance,
                self._inbox,
                self._dispatch,
                self._results,
                self._patience,
                self._spawn,
            ),
        )

    def api(self, missing: Callable[[], Awaitable[list[str]]]) -> Api:
        """The REST face, with the door for phones in it."""

        async def sims(caller: Caller) -> bytes:
            return await phones.read_sims(self._database, caller.org_id)

        services = Services(
            self._doorman, self._inbox, self._outbox, sims, missing, PhoneDoor(self._links)
        )
        return Api(services, pages=pages(), origins=self._settings.allow_origins)

    async def begin(self) -> None:
        """Make known that this node is here; its sessions of an earlier life are over."""
        await phones.leave(self._database, self.node.node_id)
        await self._upkeep.beat()
        self._links.start()
        self._upkeep.start()

    async def end(self) -> None:
        """No new pushes; the last results; every phone is told; every row is written down."""
        self._dispatch.close()
        self._attendance.close()
        await self._last_results()
        self._attendance.dismiss_all(ShuttingDown())
        self._patience.end()
        self._links.stop()
        self._upkeep.stop()
        await self._spawn.idle()
        for lane in (self._inbox, self._outbox, self._results):
            await lane.drained()
        with suppress(Unavailable):  # the others find out by our silence
            await phones.leave(self._database, self.node.node_id)

    async def _last_results(self) -> None:
        until = self._reactor.seconds() + LAST_RESULTS
        while any(visit.awaits_results for visit in self._roster):
            if self._reactor.seconds() >= until:
                return
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(0.05, pause.callback, None)
            await pause


def _home(settings: Settings) -> tuple[Path, str | None]:
    """The data directory, and what a newcomer must know of it."""
    if settings.database is not None:
        return made_home(settings.data_dir.resolve(), os.geteuid()), None
    home = settle(settings.data_dir, uid=os.geteuid())
    return home.path, home.notice


async def _database(
    settings: Settings, reactor: Any, home: Path, stack: AsyncExitStack
) -> Database:
    """The database, open; a private Postgres below it where no other one is named."""
    conninfo = settings.database
    if conninfo is None:
        postgres = PrivatePostgres(reactor, home)
        stack.push_async_callback(postgres.stop)
        conninfo = await postgres.start()
    database = Database(reactor, conninfo, size=settings.pool_size, chance=random.random)
    stack.push_async_callback(database.close)
    await database.open()
    return database


def _pepper(settings: Settings, home: Path) -> Pepper:
    if settings.pepper is not None:
        return Pepper(settings.pepper.encode())
    return keepsakes.pepper(home)


async def _stop_listening(port: Any) -> None:
    await port.stopListening()


def _urls(endpoint: str, host: Any) -> list[str]:
    """The listener as people type it; a unix socket has no URL."""
    if getattr(host, "type", None) != "TCP":
        return []
    scheme = "https" if endpoint.startswith(("ssl:", "tls:")) else "http"
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host.host, host.host)
    return [f"{scheme}://{f'[{name}]' if ':' in name and name[0] != '[' else name}:{host.port}"]
