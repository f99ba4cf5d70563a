"""A gateway's connections with an echo in the place of the session: for tests of RFC 6455 alone.

Everything below the session is production's: the site, the channel and its hand-over, the factory
with its options, the link with its limits. ``--unlimited`` lifts the limits of size, so that cases
made of large messages say something of the frames and not of our limits. Run as a program it
prints its port and serves until it is killed; it is no part of the gateway.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor as reactor_
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from smsd import logs
from smsd.gateway.visit import Identity
from smsd.phone import link
from smsd.phone.factory import LinkFactory
from smsd.phone.link import Link
from smsd.rest.request import Request
from smsd.rest.site import Site
from smsd.rest.websocket import check_handshake

reactor: Any = reactor_


class Echo(Link):
    """Says again what it hears."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._stop_waiting()
        self.sendMessage(payload, isBinary)


class EchoFactory(LinkFactory):
    """Production's factory; its links echo."""

    def __init__(self, gateway: Any) -> None:
        super().__init__(reactor, gateway)
        self._kind = type("Echo", (Echo, self._kind), {})


class Door(Resource):
    """Lets everybody in who opens a WebSocket as RFC 6455 wants it."""

    isLeaf = True

    def __init__(self, factory: LinkFactory) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: Request) -> Any:
        check_handshake(request)
        request.hand_over(self._factory.link("127.0.0.1", None, Identity()))
        return NOT_DONE_YET


def main() -> None:
    logs.begin(logs.Wanted("warn", "text"))
    # No echo ever asks it for anything. Its wheel stands still: the cases count every ping.
    factory = EchoFactory(SimpleNamespace(unanswered=1))
    if "--unlimited" in sys.argv:
        link.UNREAD = 1 << 28
        for name in ("maxFramePayloadSize", "maxMessagePayloadSize"):
            setattr(factory._kind, name, 0)
    port = reactor.listenTCP(0, Site(Door(factory), reactor), interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
