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
from twisted.internet.interfaces import IReactorPluggableNameResolver, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from smsd.outward.courier import Courier

#: The fixture of this name.
Listen = Callable[..., Awaitable[int]]

LOOPBACK = (ip_network("127.0.0.0/8"),)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Watching:
    """Something of which a test awaits that it comes true."""

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


@implementer(IReactorPluggableNameResolver)
class Names(Watching):
    """The reactor, with names of the test's own; each look-up gives the next of its answers.

    With a clock its time is the clock's; the sockets stay real. ``heard`` are the bytes that came
    to this side.
    """

    def __init__(self, answers: dict[str, list[list[str]]], clock: Clock | None = None) -> None:
        super().__init__()
        self.answers = answers
        self.heard = 0
        self.asked: list[str] = []
        self.nameResolver = self
        self.callLater = (clock or reactor).callLater
        self.seconds = (clock or reactor).seconds

    def connectTCP(self, host: str, port: int, factory: Any, *args: Any, **more: Any) -> Any:
        return reactor.connectTCP(host, port, _Overhearing(factory, self), *args, **more)

    def resolveHostName(self, receiver: Any, hostName: str, *args: Any, **more: Any) -> None:
        self.asked.append(hostName)
        receiver.resolutionBegan(None)
        said = self.answers.get(hostName, [[]])
        for address in said.pop(0) if len(said) > 1 else said[0]:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()


class _Overheard(ProtocolWrapper):
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.factory.names.heard += len(data)
        self.factory.names.happened()


class _Overhearing(WrappingFactory):
    noisy = False
    protocol = _Overheard

    def __init__(self, wrapped: Any, names: Names) -> None:
        super().__init__(wrapped)
        self.names = names


@dataclass
class Receiver(Watching):
    """Answers every request with ``answer``, once it has come whole; counts all connections.

    It says ``greeting`` before it has heard anything; one that ``sulks`` hangs up then. One
    that is ``deaf`` reads nothing any more after its answer.
    """

    answer: bytes | None = OK
    greeting: bytes = b""
    hang_up: bool = False
    sulks: bool = False
    deaf: bool = False
    opened: int = 0
    requests: list[bytes] = field(default_factory=list)
    open: set[Protocol] = field(default_factory=set)
    #: The names that TLS was asked for.
    served: list[bytes | None] = field(default_factory=list)

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
        if self._receiver.sulks:
            self.transport.loseConnection()
        self._receiver.happened()

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        _, end, body = self._read.partition(b"\r\n\r\n")
        if end and len(body) == int(_head(self._read)["content-length"]):
            self._receiver.requests.append(self._read)
            if ISSLTransport.providedBy(self.transport):
                self._receiver.served.append(self.transport.getHandle().get_servername())
            self._answer()

    def _answer(self) -> None:
        if self._receiver.answer is not None:
            self.transport.write(self._receiver.answer)
        if self._receiver.deaf:
            self.transport.pauseProducing()
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


def courier(
    names: Any = reactor, allow: Iterable[Any] = LOOPBACK, trust: Any = None, **more: Any
) -> Courier:
    return Courier(names, tuple(allow), trust=trust, **more)
