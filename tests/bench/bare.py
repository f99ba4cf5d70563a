"""A server that shakes hands and does nothing more: the least that a return of phones can cost.

``python -m bench.bare PORT`` greets every WebSocket as the gateway does, without asking anybody.
"""

from __future__ import annotations

import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor


class Greeting(WebSocketServerProtocol):  # type: ignore[misc]
    """Says hello to whoever comes, and to a phone's report that it was read."""

    def onOpen(self) -> None:
        self.sendMessage(b'{"type":"connected","org_id":"bench0"}')

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(b'{"type":"sims_ack","count":1}')


def main(port: int) -> None:
    running: Any = reactor
    factory = WebSocketServerFactory()
    factory.protocol = Greeting
    running.listenTCP(port, factory, backlog=4096, interface="127.0.0.1")
    running.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
