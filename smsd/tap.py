"""``twistd smsd``: the gateway as a service of Twisted's own daemon runner.

Also what ``smsd run`` has in common with it: how a start tells that it is done, or that it failed.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.error import ReactorNotRunning

from smsd import logs
from smsd.domain.settings import Settings
from smsd.options import Options

__all__ = ["Options", "Start", "makeService"]


@dataclass
class Start:
    """One start of the gateway on a reactor. ``code`` is what the process shall end with."""

    reactor: Any
    code: int = 0

    def service(self, settings: Settings, assemble: Callable[..., MultiService]) -> MultiService:
        """The whole gateway, not yet started."""
        return assemble(settings, self.reactor, announce=self.announce, failed=self.failed)

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
    return start.service(settings, assemble)


def _end(start: Start) -> None:
    """twistd ends with 0 whatever happened: a start that failed must not look like that."""
    if start.code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(start.code)


def _write(stream: Any, text: str) -> None:
    with suppress(OSError, AttributeError):  # nobody reads it, or there is none
        stream.write(text)
        stream.flush()
