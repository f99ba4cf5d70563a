"""One connection to the gateway: Autobahn's side of it, and how it ended.

The secret, or the API key, travels in a header and not in the URL, because URLs end up in the logs
of proxies. What the phone says of itself (``device_id``, ``ledger``) is no secret and stands in the
query.
Autobahn answers the gateway's pings by itself; ours are there to notice that nobody is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

from smsd import __version__
from smsd.handset.returning import Closed, End, Refused, Unreachable, seconds

NO_CODE = 1005  # RFC 6455 7.1.5: a close frame that gave none
FRAME_LIMIT = 1024 * 1024
CONNECT_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway is, and who calls: by the secret, or by an API key in its place."""

    url: str
    org_id: str
    secret: str | None = field(repr=False)
    device_id: str | None = None
    ledger: bool = False
    key: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Who calls, as the gateway is told."""
        if self.key is not None:
            return {"X-Org-Id": self.org_id, "Authorization": f"Bearer {self.key}"}
        return {"X-Org-Id": self.org_id, "X-Secret-Key": self.secret or ""}

    @property
    def full_url(self) -> str:
        said = {"device_id": self.device_id, "ledger": "1" if self.ledger else None}
        query = urlencode({name: value for name, value in said.items() if value})
        return f"{self.url}?{query}" if query else self.url


class Line(WebSocketClientProtocol):
    """Tells its owner what comes in; `over` fires once, with how it ended."""

    def __init__(self, clock: IReactorTime, came: Callable[[bytes], None]) -> None:
        super().__init__()
        self._clock = clock
        self._came = came
        self._since: float | None = None
        self.over: Deferred[End] = Deferred(lambda _: self.dropConnection(abort=True))

    @property
    def is_up(self) -> bool:
        return bool(self.state == self.STATE_OPEN)

    def say(self, frame: bytes) -> None:
        self.sendMessage(frame)  # type: ignore[no-untyped-call]

    def onOpen(self) -> None:
        self._since = self._clock.seconds()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._came(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.over.called:  # cancelled: nobody waits any more
            return
        self.over.callback(self._end(code or NO_CODE, reason or ""))

    def _end(self, code: int, reason: str) -> End:
        if self._since is not None:
            return Closed(code, reason, self._clock.seconds() - self._since)
        _, status, words = f"{getattr(self, 'http_status_line', '')}  ".split(" ", 2)
        if status.isdigit() and status != "101":
            return Refused(int(status), words.strip(), self._retry_after())
        return Unreachable(reason)

    def _retry_after(self) -> float | None:
        return seconds(self.http_headers.get("retry-after", ""))


class Dialling(WebSocketClientFactory):
    """Makes `Line` after `Line` to one address."""

    def __init__(self, reactor: Any, address: Address, came: Callable[[bytes], None]) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            url=address.full_url,
            headers=address.headers,
            useragent=f"smsd-phone/{__version__}",
            reactor=reactor,
        )
        self._clock, self._came = reactor, came
        self._endpoint = _endpoint(reactor, self.isSecure, self.host, self.port)
        if ":" in self.host:  # an IPv6 address, which the Host header wants in brackets
            self.host = f"[{self.host}]"
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            autoPingInterval=25,
            autoPingTimeout=20,
            openHandshakeTimeout=CONNECT_TIMEOUT,
            maxMessagePayloadSize=FRAME_LIMIT,
            maxFramePayloadSize=FRAME_LIMIT,
        )

    def buildProtocol(self, addr: Any) -> Line:
        line = Line(self._clock, self._came)
        line.factory = self
        return line

    async def dial(self) -> Line:
        """A line whose handshake has begun; raises what the endpoint raises."""
        return cast(Line, await self._endpoint.connect(self))


def well_formed(url: str) -> str:
    """The WebSocket URL that is meant by ``url``; raises ValueError and says what is wrong."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("it must be plain ASCII without spaces")
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not _is_host(parts.hostname):
        raise ValueError("it must look like ws://127.0.0.1:8080/websocket (or http, https, wss)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("it must be an address only, without user, query or fragment")
    if parts.port == 0:
        raise ValueError("0 is no port to connect to")
    path = parts.path if parts.path.strip("/") else "/websocket"
    return f"{scheme}://{parts.netloc}{path}"


def _is_host(name: str | None) -> bool:
    return bool(name) and all(0 < len(label) < 64 for label in str(name).split("."))


def _endpoint(reactor: Any, secure: bool, host: str, port: int) -> IStreamClientEndpoint:
    plain = HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    return wrapClientTLS(optionsForClientTLS(host), plain) if secure else plain
