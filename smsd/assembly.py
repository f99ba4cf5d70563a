"""The life of the whole gateway: started from the database up, stopped from the listeners down.

What it consists of above the database is `smsd.graph`'s.
"""

from __future__ import annotations

import os
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
from smsd.opening import home_of, opened
from smsd.rest.site import Site
from smsd.sight.lookout import Lookout
from smsd.store.durability import warn_of_risks
from smsd.store.migrate import migrate
from smsd.store.statements import prepared
from smsd.store.trouble import CannotConnect
from smsd.systemd import Notices, Standing, sockets_held
from smsd.welcome import welcome


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
        home, notice = home_of(settings)
        if notice is not None:
            self._announce(notice)
        database = await opened(settings, reactor, home, stack)
        self._standing.say("Starting: migrating the database")
        await migrate(database)
        database.rehearse(prepared())
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


async def _how_it_is(parts: _Node) -> str:
    """In words, for whoever asks systemd."""
    phones = "1 phone" if parts.phones == 1 else f"{parts.phones} phones"
    return "; ".join([f"{phones} on line", *await parts.readiness.missing()])
