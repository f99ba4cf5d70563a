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
    nearest = _ip(getattr(peer, "host", None))
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
