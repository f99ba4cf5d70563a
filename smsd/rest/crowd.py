"""How many connections one address holds (setting ``max_connections_per_address``).

Off by default, and then it costs nothing. A trusted proxy's connections are its clients', so they
are not counted. A connection that became a phone's session counts as long as it is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

from twisted.internet.interfaces import IAddress, IProtocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from smsd.domain.errors import TooMany
from smsd.gateway.neighbourhood import neighbourhood
from smsd.rest.address import LOCAL, Network, client_address, is_trusted


class Crowd:
    """Counts the open connections of every address; ``most`` of 0 is no limit."""

    def __init__(self, most: int, proxies: Sequence[Network]) -> None:
        self._most = most
        self._proxies = proxies
        self._open: Counter[str] = Counter()

    def allow(self, most: int) -> None:
        """From here on so many; connections that were open while there was no limit are not
        counted."""
        self._most = most

    def check(self, peer: IAddress) -> None:
        """Raises `TooMany` where this address has enough connections."""
        if self._open[_name(peer)] >= self._most and self._counts(peer):
            raise TooMany(f"This address has {self._most} connections: close one first.")

    def counted(self, protocol: IProtocol, peer: IAddress) -> IProtocol:
        """The protocol, wrapped such that its end is noticed where it counts."""
        if not self._counts(peer):
            return protocol
        return cast(IProtocol, _Counted(self, protocol, _name(peer)))

    def registerProtocol(self, one: _Counted) -> None:
        self._open[one.name] += 1

    def unregisterProtocol(self, one: _Counted) -> None:
        self._open[one.name] -= 1
        if not self._open[one.name]:
            del self._open[one.name]

    def _counts(self, peer: IAddress) -> bool:
        return bool(self._most) and _name(peer) != LOCAL and not is_trusted(peer, self._proxies)


class _Counted(ProtocolWrapper):
    """Tells the crowd when its connection begins and ends."""

    def __init__(self, crowd: Crowd, protocol: IProtocol, name: str) -> None:
        super().__init__(cast("WrappingFactory[_Counted]", crowd), protocol)
        self.name = name


def _name(peer: IAddress) -> str:
    return neighbourhood(client_address(peer, (), ()))
