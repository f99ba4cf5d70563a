"""Autobahn's WebSocket from behind the opening handshake on, and how little of it a phone needs.

The handshake was read and judged as HTTP before it comes here, so that Autobahn does not read it a
second time; nor does it describe the transport for nobody. What it keeps of the opening is let go,
and what is the same for all phones stays on their class: that takes an idle phone from 10.3 KiB of
memory to 7.3. What is spoken is `smsd.phone.link`'s part.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

#: The header that names the request, in the handshake as it is handed on and in its answer.
REQUEST_ID = "X-Request-Id"
#: What the answer is made of.
_SAID = re.compile(rb"\r\n(Sec-WebSocket-Key|X-Request-Id): (\S+)")

#: What Autobahn needs until the connection is open, or for what is never done here: to write in
#: pieces, to have observers, to count what each phone says.
_SPENT = (
    "http_response_data",
    "is_open",
    "send_queue",
    "trafficStats",
    "websocket_extensions_in_use",
    "_results",
    "_transport_details",
    "_valid_events",
    "_wskey",
)


class Upgraded(WebSocketServerProtocol):
    """A WebSocket that is fed the head of a good handshake first, in one piece."""

    #: Autobahn's own log: it warns of what any stranger can do, and names addresses.
    log = txaio.make_logger(level="critical")  # type: ignore[attr-defined]
    transport: Any

    #: As they are after every handshake: no extension and no subprotocol is ever agreed on.
    current_frame: Any = None
    inside_message = False
    websocket_extensions: Any = ()
    websocket_extensions_in_use: Any = ()
    websocket_protocols: Any = ()
    websocket_protocol_in_use = None
    websocket_version = 13

    def connectionMade(self) -> None:
        with suppress(AttributeError, OSError):  # a UNIX socket has no delay to be switched off
            self.transport.setTcpNoDelay(True)
        self._connectionMade()

    def processHandshake(self) -> None:
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        said = dict(_SAID.findall(head))
        self._wskey = said[b"Sec-WebSocket-Key"].decode()
        named = said.get(REQUEST_ID.encode())
        self.succeedHandshake((None, {} if named is None else {REQUEST_ID: named.decode()}))
        self._let_go()

    def _let_go(self) -> None:
        """Keep what is this connection's own, in a dictionary that is not larger than that."""
        kind, nothing = type(self), object()
        self.__dict__ = {
            name: value
            for name, value in vars(self).items()
            if name not in _SPENT and value is not getattr(kind, name, nothing)
        }


def alike(factory: WebSocketServerFactory) -> dict[str, Any]:
    """What Autobahn sets on each connection of this factory, and is the same on all of them."""
    one = Upgraded()
    one.factory = factory
    one._connectionMade()
    factory.countConnections -= 1
    kept = ("factory", "trafficStats", "_transport_details")
    return {
        name: value
        for name, value in vars(one).items()
        if name in kept or value is None or isinstance(value, int)
    }
