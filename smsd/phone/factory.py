"""Makes phones' connections, with Autobahn's options set once, and keeps an eye on all of them.

One wheel turns for all phones: it pings each every 20 s and drops one from which nothing at all
(frame, ping or pong) came for 45 s. No phone has a timer of its own once it is on line.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from smsd.domain.errors import ShuttingDown
from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.visit import Identity
from smsd.phone.desk import Gateway
from smsd.phone.link import Link
from smsd.phone.upgraded import alike

#: Contract section 4. Bytes; seconds.
FRAME = 1 << 20
PING_EVERY, SILENT_FOR = 20, 45


class LinkFactory(WebSocketServerFactory):
    """All phones' connections of this node."""

    _log = Logger()

    def __init__(self, reactor: Any, gateway: Gateway) -> None:
        super().__init__(reactor=reactor, server="smsd")  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._gateway = gateway
        self._batched_timer = self  # Autobahn's own would be on the global reactor
        self._numbers = count()
        self._turn = 0
        self._wheel = LoopingCall(self.turn)
        self._wheel.clock = reactor
        self.links: set[Link] = set()
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            versions=[13],
            maxFramePayloadSize=FRAME,
            maxMessagePayloadSize=FRAME,
            # The handshake was read and judged before it comes here.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=3,
            autoPingInterval=0,
            failByDrop=False,
            tcpNoDelay=True,
            perMessageCompressionAccept=_no_compression,
            allowedOrigins=["*"],
            allowNullOrigin=True,
            webStatus=False,
        )
        self._kind = _with_options(self)

    def link(self, address: str, who: Caller | Newcomer | None, identity: Identity) -> Link:
        """A connection for a phone at ``address``, to be given its transport."""
        link = self._kind(self._gateway, address, who, identity)
        link.turn = next(self._numbers) % PING_EVERY
        return link

    def start(self) -> None:
        self._wheel.start(1, now=False)

    def stop(self) -> None:
        """Nobody is left behind: also phones that have not said yet who they are."""
        if self._wheel.running:
            self._wheel.stop()
        for link in list(self.links):
            link.session.dismiss(ShuttingDown())

    def turn(self) -> None:
        """One step of the wheel, once a second."""
        self._turn = (self._turn + 1) % PING_EVERY
        for link in list(self.links):
            try:
                self._look_after(link)
            except Exception:  # the wheel must not stop for one phone
                self._log.failure("a phone could not be looked after")

    def _look_after(self, link: Link) -> None:
        if link.listening and self.now() - link.heard_at > SILENT_FOR:
            link.drop("nothing was heard of it")
        elif link.turn == self._turn:
            link.ping()

    def now(self) -> float:
        """The reactor's clock, in seconds."""
        return float(self._reactor.seconds())

    def call_later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        """Call it then; what comes back can be cancelled."""
        return self._reactor.callLater(seconds, call)  # type: ignore[no-any-return]


def _no_compression(offers: object) -> None:
    """permessage-deflate is not offered."""


def _with_options(factory: LinkFactory) -> type[Link]:
    """Links that have the factory's options on their class.

    Autobahn would copy them into each connection, after it has asked for some of them (Nagle's
    algorithm stayed on), and write them all out for a debug line that nobody reads.
    """
    options = {name: getattr(factory, name) for name in Link.CONFIG_ATTRS} | alike(factory)
    options["perMessageCompressionAccept"] = staticmethod(_no_compression)
    return type("Link", (Link,), {**options, "CONFIG_ATTRS": (), "__module__": __name__})
