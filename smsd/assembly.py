"""The life of the whole gateway: started from the database up, stopped from the listeners down.

What it consists of above the database is `smsd.graph`'s.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from smsd import __version__
from smsd.domain.errors import Unavailable
from smsd.domain.settings import Settings
from smsd.gateway.readiness import OK
from smsd.graph import Parts
from smsd.listening import Listeners, wanted
from smsd.rest.site import Site
from smsd.sight.lookout import Lookout
from smsd.store import overview
from smsd.store.database import Database
from smsd.store.durability import risks, warn_of_risks
from smsd.store.embedded import PostgresUnusable, PrivatePostgres, conninfo_of
from smsd.store.home import made_home, occupied, settle
from smsd.store.migrate import migrate, migrations, told
from smsd.store.statements import named
from smsd.store.trouble import CannotConnect
from smsd.store.unusable import InUse
from smsd.systemd import Notices, Standing, sockets_held
from smsd.welcome import welcome

_VERSION = named("version")


def assemble(
    settings: Settings,
    reactor: Any,
    *,
    announce: Callable[[str], None],
    failed: Callable[[str], None],
) -> Smsd:
    """The gateway as a service.

    When it is up ``announce`` gets the text for the terminal; where it cannot start ``failed``
    gets the reason, in one line.
    """
    return Smsd(settings, reactor, announce, failed)


async def check_database(settings: Settings, reactor: Any) -> str:
    """Whether the database answers, in a sentence; raises `RuntimeError` where it does not."""
    async with AsyncExitStack() as stack:
        try:
            try:
                database, _ = await lent(settings, reactor, stack)
            except NoDatabaseYet as none:
                return str(none)
            ((version,),) = await database.run(_VERSION)
            answers = f"The database answers: PostgreSQL {version}."
            standing = told(await overview.schema(database), migrations())
            return " ".join([answers, *standing, *await risks(database)])
        except (Unavailable, PostgresUnusable) as error:
            raise RuntimeError(str(error)) from None


async def lent(settings: Settings, reactor: Any, stack: AsyncExitStack) -> tuple[Database, Path]:
    """The gateway's database, open for as long as the stack is, and the data directory.

    A private Postgres is asked where a gateway runs it, and started where none does.
    """
    home = _home_to_check(settings)
    if settings.database is None and not occupied(home):
        raise NoDatabaseYet(_none_in(home))
    try:
        return await _database(settings, reactor, home, stack), home
    except InUse:
        return await _opened(settings, reactor, conninfo_of(home), stack), home


async def alone(settings: Settings, reactor: Any, stack: AsyncExitStack) -> Database:
    """The database that a gateway would use, made where there is none. Raises `InUse` where one
    runs a private Postgres; on a server of the operator's there may be one still."""
    return await _database(settings, reactor, _home(settings)[0], stack)


def private_home(settings: Settings) -> Path:
    """The data directory of a private Postgres that has been started before."""
    home = _home_to_check(settings)
    if not occupied(home):
        raise NoDatabaseYet(_none_in(home))
    return home


class NoDatabaseYet(RuntimeError):
    """No gateway was ever started here."""


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
        self._standing = Standing(reactor, Notices(os.environ, os.getpid()))
        self._listeners = Listeners(reactor, wanted(settings, sockets_held(reactor)))
        self._metrics = Listeners(reactor, [settings.metrics] if settings.metrics else [])
        #: The list that the site looks into, so that its contents can be replaced.
        self._proxies = list(settings.proxies)
        self._takers: list[Callable[[Settings], None]] = []
        self._reloads: list[Callable[[], None]] = []
        self._stopping = False
        self._listening = False

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._log.info("smsd {version} starts", version=__version__, pid=os.getpid())
        self._standing.begin("Starting: the database")
        Deferred.fromCoroutine(self._start())

    def reload(self, act: Callable[[], None]) -> None:
        """Do it once the gateway is up, and tell systemd before and after."""
        if self._listening:
            self._standing.reloading(act)
        elif not self._stopping:
            self._reloads.append(act)

    def renew(self, settings: Settings) -> None:
        """Take over the settings that are live, and read the certificates again.

        Raises `UnusableCertificate`, and then nothing has changed.
        """
        both = (self._listeners, self._metrics)
        use_certificates = [listeners.fresh_certificates() for listeners in both]
        self._proxies[:] = settings.proxies
        for take in self._takers:
            take(settings)
        for use in use_certificates:
            use()

    def stopService(self) -> Deferred[None]:
        self._stopping = True
        self._log.info("stopping; the last results are awaited and written down")
        self._standing.stopping("Stopping: the last results are awaited and written down")
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
            missing = "the database cannot be reached: " if isinstance(error, CannotConnect) else ""
            self._failed(f"cannot start: {missing}{error}")

    async def _stop(self, children: Awaitable[object] | None) -> None:
        try:
            await self._stack.aclose()
        except Exception:  # every other part was stopped all the same
            self._log.failure("the stop was not clean")
        if children is not None:
            await children
        self._standing.end()
        self._log.info("stopped")

    async def _build(self) -> None:
        settings, reactor, stack = self._settings, self._reactor, self._stack
        home, notice = _home(settings)
        if notice is not None:
            self._announce(notice)
        database = await _database(settings, reactor, home, stack)
        self._standing.say("Starting: migrating the database")
        await migrate(database)
        await warn_of_risks(database)
        self._standing.say("Starting: the listeners")
        parts = _Node(settings, reactor, database, home)
        stack.callback(parts.node.release)
        parts.hashing.start()
        stack.callback(parts.hashing.stop)
        await parts.begin()
        stack.push_async_callback(parts.end)
        site = Site(
            parts.api(self._serving),
            reactor,
            self._proxies,
            settings.max_connections_per_address,
        )
        self._takers += (parts.renew, lambda live: site.allow(live.max_connections_per_address))
        stack.push_async_callback(self._listeners.close)
        await self._listeners.open(site)
        stack.callback(site.retire)
        if settings.metrics is not None:
            await self._show_metrics(parts.lookout(site))
        self._listening = True
        self._told_up(home)
        self._standing.ready(lambda: _how_it_is(parts))
        while self._reloads:
            self.reload(self._reloads.pop(0))

    async def _show_metrics(self, lookout: Lookout) -> None:
        lookout.start()
        self._stack.callback(lookout.stop)
        site = Site(lookout.page, self._reactor)
        self._stack.push_async_callback(self._metrics.close)
        await self._metrics.open(site)
        self._stack.callback(site.retire)
        for url in self._metrics.urls:
            self._log.info("metrics are at {url}/metrics", url=url)

    def _told_up(self, home: Path) -> None:
        urls = self._listeners.urls
        self._log.info("listening on {where}", where=", ".join(urls) or "no TCP port")
        self._announce(welcome(urls, home))

    def _serving(self) -> str:
        if self._stopping:
            return "the gateway is shutting down"
        return OK if self._listening else "the listeners are not up"


class _Node(Parts):
    """The parts, counted."""

    @property
    def phones(self) -> int:
        """How many are on line."""
        return len(self._roster)


def _none_in(home: Path) -> str:
    return f"No database yet: the first start makes a private one in {home}."


async def _how_it_is(parts: _Node) -> str:
    """In words, for whoever asks systemd."""
    phones = "1 phone" if parts.phones == 1 else f"{parts.phones} phones"
    return "; ".join([f"{phones} on line", *await parts.readiness.missing()])


def _home(settings: Settings) -> tuple[Path, str | None]:
    """The data directory, and what a newcomer must know of it."""
    if settings.database is not None:
        return made_home(settings.data_dir.resolve(), os.geteuid()), None
    home = settle(settings.data_dir, uid=os.geteuid())
    return home.path, home.notice


def _home_to_check(settings: Settings) -> Path:
    """The data directory, also one whose server could not be started by us: in a unit of
    systemd's it may be running all the same."""
    try:
        return _home(settings)[0]
    except PostgresUnusable:
        home = settings.data_dir.resolve()
        if occupied(home):
            return home
        raise


async def _database(
    settings: Settings, reactor: Any, home: Path, stack: AsyncExitStack
) -> Database:
    """The database, open; a private Postgres below it where no other one is named."""
    conninfo = settings.database
    if conninfo is None:
        postgres = PrivatePostgres(reactor, home, binaries=settings.postgres_bin)
        stack.push_async_callback(postgres.stop)
        conninfo = await postgres.start()
    return await _opened(settings, reactor, conninfo, stack)


async def _opened(
    settings: Settings, reactor: Any, conninfo: str, stack: AsyncExitStack
) -> Database:
    database = Database(reactor, conninfo, size=settings.pool_size, chance=random.random)
    stack.push_async_callback(database.close)
    await database.open()
    return database
