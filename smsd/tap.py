"""``twistd smsd``: the gateway as a service of Twisted's own daemon runner.

Also what ``smsd run`` has in common with it: how a start tells that it is done, or that it failed,
and what a hang-up means.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.error import ReactorNotRunning

from smsd import logs
from smsd.cycles import look_seldom
from smsd.domain.settings import Settings
from smsd.options import Options
from smsd.reload import Reload

__all__ = ["Options", "Start", "makeService"]


@dataclass
class Start:
    """One start of the gateway on a reactor. ``code`` is what the process shall end with."""

    reactor: Any
    code: int = 0
    collector: Any = gc

    def __post_init__(self) -> None:
        # Twisted's reactors wait by the time of day (its ticket 2424): a clock that is set back
        # stops every timer, one that is set forward fires all of them at once.
        self.reactor.seconds = time.monotonic

    def service(self, settings: Settings, assemble: Callable[..., MultiService]) -> MultiService:
        """The whole gateway, not yet started; from here on this process leaves no core, and
        may open as many files as it can be allowed."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold secrets
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a phone on line takes one
        look_seldom(self.collector)
        return assemble(settings, self.reactor, announce=self.announce, failed=self.failed)

    def obey_hangups(self, service: Any, options: Options) -> None:
        """SIGHUP: to a daemon it means that its settings are to be read again; to a gateway that
        runs on a terminal, that this was closed."""

        def take(settings: Settings) -> None:
            service.renew(settings)
            logs.show_from(settings.log_level)

        reload = Reload(options.settings, options.read_again, take)
        obey = self._stop if _on_a_terminal() else lambda: service.reload(reload)
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(obey))

    def announce(self, text: str) -> None:
        """Tells whoever started it; past the log, into which twistd turns standard output."""
        _write(sys.__stdout__, text.rstrip() + "\n")

    def failed(self, reason: str) -> None:
        """Ends it: one line, then the reactor stops, now or as soon as it runs."""
        _write(sys.__stderr__, f"smsd: {reason}\n")
        self.code = 1
        self.reactor.callWhenRunning(self._stop)

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # it is stopping already
            self.reactor.stop()


def makeService(options: Options) -> MultiService:
    """What ``twistd smsd`` runs."""
    # Here, because the import makes a reactor (klein's too), and twistd may want another one.
    from twisted.internet import reactor

    from smsd.assembly import assemble

    settings = options.settings
    logs.prepare(logs.Wanted(settings.log_level, settings.log_format))
    start = Start(reactor)
    atexit.register(_end, start)
    service = start.service(settings, assemble)
    start.obey_hangups(service, options)
    return service


def _end(start: Start) -> None:
    """twistd ends with 0 whatever happened: a start that failed must not look like that."""
    if start.code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(start.code)


def _on_a_terminal() -> bool:
    return any(os.isatty(descriptor) for descriptor in range(3))


def _write(stream: Any, text: str) -> None:
    with suppress(OSError, AttributeError):  # nobody reads it, or there is none
        stream.write(text)
        stream.flush()
