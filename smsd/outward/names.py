"""What a name stands for now: one look-up by the reactor's resolver, and no connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from smsd.outward.networks import Address, address_of


class Unknown(Exception):
    """The name has no address, or none that can be read."""


def make_room(reactor: Any, posts: int) -> None:
    """Let so many posts more look names up at once: the reactor's resolver takes a thread for each,
    for as long as a dead server of names lets it wait. Threads are made when they are needed."""
    reactor.suggestThreadPoolSize(reactor.getThreadPool().max + posts)


async def look_up(reactor: Any, host: str) -> list[Address]:
    """All addresses of a name, or the one that ``host`` is itself; raises `Unknown`.

    ``reactor`` has a ``nameResolver`` (IReactorPluggableNameResolver).
    """
    literal = address_of(host)
    if literal is not None:
        return [literal]
    found = _Found()
    reactor.nameResolver.resolveHostName(found, host)
    addresses = [address_of(str(getattr(one, "host", ""))) for one in await found.all]
    known = [address for address in addresses if address is not None]
    if not known or len(known) < len(addresses):
        raise Unknown(host)
    return known


@implementer(IResolutionReceiver)
class _Found:
    """Collects the addresses of one look-up; one that was cancelled is not told of its end."""

    def __init__(self) -> None:
        self.all: Deferred[list[IAddress]] = Deferred()
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        self.all.callback(self._addresses)
