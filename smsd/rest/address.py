"""Which address a request comes from, and whose word on it is believed.

The transport says it. ``X-Forwarded-For`` is anybody's claim, so it counts only where the peer
is a proxy that the operator named, and then from its right end: each proxy appends the peer that
it saw. Narrowing an IPv6 address to its network is the doorman's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from twisted.internet.interfaces import IAddress

Network = IPv4Network | IPv6Network
_Ip = IPv4Address | IPv6Address

#: The peer of a Unix socket has no address: all of them count as one.
LOCAL = "unix"


def client_address(peer: IAddress, forwarded: Sequence[bytes], proxies: Sequence[Network]) -> str:
    """The address to hold responsible: the nearest one that is not a trusted proxy."""
    host: str | None = getattr(peer, "host", None)
    if host and not proxies and ":" not in host:  # by far the most, and said as it should be
        return host
    nearest = _ip(host)
    if nearest is None:
        return LOCAL
    for hop in reversed(b",".join(forwarded).split(b",")):
        if not any(nearest in network for network in proxies):
            break
        said = _ip(hop.decode("latin-1"))
        if said is None:
            break
        nearest = said
    return str(nearest)


def is_trusted(peer: IAddress, proxies: Sequence[Network]) -> bool:
    """Whether the peer is a proxy that the operator named."""
    ip = _ip(getattr(peer, "host", None))
    return ip is not None and any(ip in network for network in proxies)


def _ip(text: str | None) -> _Ip | None:
    """The address that ``text`` names, an IPv4 one in IPv6's clothes as itself."""
    bare = (text or "").strip().removeprefix("[").partition("]")[0].partition("%")[0]
    if bare.count(":") == 1:  # some proxies append the port
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
