"""Makes phones' connections, with Autobahn's options set once, and keeps an eye on all of them.

One wheel turns for all phones: it pings each every 20 s and drops one from which nothing at all
(frame, ping or pong) came for 45 s. No phone has a timer of its own once it is on line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall

from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.visit import Identity
from smsd.phone.desk import Gateway
from smsd.phone.link import Link

#: Contract section 4. Bytes; seconds.
FRAME = 1 << 20
PING_EVERY, SILENT_FOR = 20, 45


class LinkFactory(WebSocketServerFactory):
    """All phones' connections of this node."""

    def __init__(self, reactor: Any, gateway: Gateway) -> None:
        super().__init__(reactor=reactor, server="smsd")  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._gateway = gateway
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
            perMessageCompressionAccept=lambda _: None,
            allowedOrigins=["*"],
            allowNullOrigin=True,
            webStatus=False,
        )

    def link(self, address: str, who: Caller | Newcomer | None, identity: Identity) -> Link:
        """A connection for a phone at ``address``, to be given its transport."""
        link = Link(self._gateway, address, who, identity)
        link.factory = self
        return link

    def start(self) -> None:
        self._wheel.start(1, now=False)

    def stop(self) -> None:
        if self._wheel.running:
            self._wheel.stop()

    def turn(self) -> None:
        """One step of the wheel: a twentieth of the phones is looked at."""
        self._turn = (self._turn + 1) % PING_EVERY
        now = self.now()
        for link in list(self.links):
            if now - link.heard_at > SILENT_FOR:
                link.dropConnection(abort=True)
            elif id(link) // 64 % PING_EVERY == self._turn:
                link.sendPing()

    def now(self) -> float:
        """The reactor's clock, in seconds."""
        return float(self._reactor.seconds())

    def call_later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        return self._reactor.callLater(seconds, call)  # type: ignore[no-any-return]
