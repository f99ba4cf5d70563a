"""Endpoints on loopback, well behaved or not, each with what it saw; and a resolver that says what
the test wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from smsd.outward.courier import Courier

#: The fixture of this name.
Listen = Callable[..., Awaitable[int]]

LOOPBACK = (ip_network("127.0.0.0/8"),)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@implementer(IReactorPluggableNameResolver)
class Names:
    """The reactor, with names of the test's own; each look-up gives the next of its answers."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): said for name, said in answers.items()}
        self.asked: list[str] = []
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def resolveHostName(self, receiver: Any, hostName: str, *args: Any, **more: Any) -> None:
        self.asked.append(hostName)
        receiver.resolutionBegan(None)
        said = self.answers.get(hostName, [[]])
        for address in said.pop(0) if len(said) > 1 else said[0]:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()


@dataclass
class Receiver:
    """Answers every request with ``answer``, once it has come whole; counts all connections."""

    answer: bytes | None = OK
    greeting: bytes = b""
    hang_up: bool = False
    opened: int = 0
    requests: list[bytes] = field(default_factory=list)
    open: set[Protocol] = field(default_factory=set)
    _waiting: list[tuple[Callable[[], bool], Deferred[None]]] = field(default_factory=list)

    async def until(self, true: Callable[[], bool]) -> None:
        """When it is true, looked at whenever something happens here; ten seconds at most."""
        if not true():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((true, waiting))
            await waiting.addTimeout(10, reactor)

    def happened(self) -> None:
        ready = [one for one in self._waiting if one[0]()]
        self._waiting = [one for one in self._waiting if one not in ready]
        for _, waiting in ready:
            waiting.callback(None)

    @property
    def heads(self) -> list[dict[str, str]]:
        return [_head(request) for request in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]


class _Talk(Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._read = b""

    def connectionMade(self) -> None:
        self._receiver.opened += 1
        self._receiver.open.add(self)
        self.transport.write(self._receiver.greeting)
        self._receiver.happened()

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        _, end, body = self._read.partition(b"\r\n\r\n")
        if end and len(body) == int(_head(self._read)["content-length"]):
            self._receiver.requests.append(self._read)
            self._answer()

    def _answer(self) -> None:
        if self._receiver.answer is not None:
            self.transport.write(self._receiver.answer)
        if self._receiver.hang_up:
            self.transport.loseConnection()
        self._receiver.happened()

    def connectionLost(self, reason: Any = None) -> None:
        self._receiver.open.discard(self)
        self._receiver.happened()


class Talks(Factory):
    noisy = False

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def buildProtocol(self, addr: object) -> Protocol:
        return _Talk(self._receiver)


def _head(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    fields = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in fields}


def courier(names: Any = reactor, allow: Iterable[Any] = LOOPBACK, trust: Any = None) -> Courier:
    return Courier(names, tuple(allow), trust=trust)
