"""The site: accepts connections for one resource, and says no to some of them.

It keeps no access log: paths carry secrets.
"""

# mypy: allow-untyped-calls, allow-any-generics
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from smsd.domain.errors import Problem
from smsd.rest.address import Network
from smsd.rest.channel import Channel
from smsd.rest.crowd import Crowd
from smsd.rest.deadlines import Deadlines
from smsd.rest.request_ids import RequestIds


class Site(server.Site):
    """Accepts connections for one resource. It keeps no access log: paths carry secrets."""

    protocol = Channel  # type: ignore[assignment]  # Twisted's own is a proxy that also speaks h2
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        proxies: Sequence[Network] = (),
        most_per_address: int = 0,
        time_of_day: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        # The channel keeps its own deadlines, so Twisted's idle time-out is off.
        super().__init__(resource, reactor=reactor, timeout=None)
        self.deadlines: Deadlines[Channel] = Deadlines(reactor)
        self.request_ids = RequestIds(chance)
        self._time_of_day = time_of_day
        self._dated, self._date = -1, b""
        self.proxies = proxies
        self.retired = False
        #: By status, what was answered to that which never became a request.
        self.refusals: Counter[int] = Counter()
        self._crowd = Crowd(most_per_address, proxies)

    def buildProtocol(self, addr: Any) -> Any:
        channel: Channel = super().buildProtocol(addr)
        try:
            self._crowd.check(addr)
        except Problem as problem:
            channel.unwelcome = problem
            return channel
        return self._crowd.counted(channel, addr)

    def allow(self, most_per_address: int) -> None:
        """From here on an address may hold so many connections."""
        self._crowd.allow(most_per_address)

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    def date(self) -> bytes:
        """The time of day as answers carry it; made anew once a second."""
        now = int(self._time_of_day())
        if now != self._dated:
            self._dated, self._date = now, datetimeToString(now)
        return self._date

    def startFactory(self) -> None:
        """No log file, no clock for its dates."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Any) -> None:
        """Not a word."""

    def retire(self) -> None:
        """Take no further request: idle connections close now, the others after their answer."""
        self.retired = True
        for channel in self.deadlines.watched():
            channel.retire()
