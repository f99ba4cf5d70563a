"""One connection to addresses that were judged before: to those and to no other, bounded in what it
reads, and gone when it is hung up. TLS, SNI and the certificate's check go by the name."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address as Four
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from smsd.outward.networks import Address
from smsd.outward.urls import Target

#: Bytes that are read of an answer, its head included.
MOST_READ = 65_536
#: Seconds for one address to accept.
CONNECT = 10.0


@implementer(IStreamClientEndpoint, IAgentEndpointFactory)
class Line:
    """The endpoint for one attempt at ``target``, whose ``addresses`` may all be called."""

    def __init__(
        self, reactor: Any, policy: IPolicyForHTTPS, target: Target, addresses: Sequence[Address]
    ) -> None:
        settled = _Settled(reactor, addresses, target.port)
        plain = HostnameEndpoint(settled, target.host, target.port, timeout=CONNECT)
        self._endpoint = _safe(policy, target, plain) if target.scheme == "https" else plain
        self._open: set[_Bounded] = set()
        self._waiting: list[Deferred[None]] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """This one, whatever an agent reads out of the URL."""
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = self._endpoint.connect(_Bounding(protocolFactory, self))
        return connecting.addCallback(_inner)

    async def closed(self) -> None:
        """When the connection is closed."""
        if self._open:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def hang_up(self) -> None:
        """Whatever is still open is dropped, without waiting for the other side."""
        for one in list(self._open):
            one.drop()

    def opened(self, one: _Bounded) -> None:
        self._open.add(one)

    def lost(self, one: _Bounded) -> None:
        self._open.discard(one)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)


def _safe(
    policy: IPolicyForHTTPS, target: Target, plain: IStreamClientEndpoint
) -> IStreamClientEndpoint:
    return wrapClientTLS(policy.creatorForNetloc(target.host.encode(), target.port), plain)


class _Bounded(ProtocolWrapper):
    """Reads so much and then drops the connection."""

    factory: _Bounding
    _read = 0

    def drop(self) -> None:
        """Gone at once, whatever the other side or TLS would still say."""
        cast(Any, self.transport).abortConnection()

    def makeConnection(self, transport: Any) -> None:
        self.factory.line.opened(self)
        ProtocolWrapper.makeConnection(self, transport)

    def dataReceived(self, data: bytes) -> None:
        room = MOST_READ - self._read
        self._read += len(data)
        ProtocolWrapper.dataReceived(self, data[:room])
        if self._read >= MOST_READ:
            self.drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        ProtocolWrapper.connectionLost(self, reason)
        self.factory.line.lost(self)


def _inner(one: IProtocol) -> IProtocol:
    return cast(_Bounded, one).wrappedProtocol


class _Bounding(WrappingFactory[_Bounded]):
    noisy = False
    protocol = _Bounded

    def __init__(self, wrapped: IProtocolFactory, line: Line) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.line = line


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _Settled:
    """A reactor for an endpoint, whose resolver gives what was judged, whatever is asked."""

    def __init__(self, reactor: Any, addresses: Sequence[Address], port: int) -> None:
        self.nameResolver = self
        self.connectTCP = reactor.connectTCP
        self.callLater = reactor.callLater
        self.seconds = reactor.seconds
        self._addresses = [_socket_address(address, port) for address in addresses]

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolutionReceiver.resolutionBegan(cast(IHostResolution, None))
        for address in self._addresses:
            resolutionReceiver.addressResolved(address)
        resolutionReceiver.resolutionComplete()
        return cast(IHostResolution, None)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError("what was judged stays")


def _socket_address(address: Address, port: int) -> IAddress:
    if isinstance(address, Four):
        return IPv4Address("TCP", str(address), port)
    return IPv6Address("TCP", str(address), port)
