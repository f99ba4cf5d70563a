"""Which addresses may be called: those of the public Internet, and what the operator allows.

The table is our own, since what Python calls global differs between its versions. Of IPv6 only
``2000::/3`` is unicast of the Internet, without the parts that lead somewhere else. It follows the
IANA special-purpose registries (RFC 6890) and what other networks are reached through.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FOUR = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and where clouds tell their secrets
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

#: Everything else (``::/96``, ``64:ff9b::/96``, ``fc00::/7``, ``fe80::/10``, ``ff00::/8`` ...) is
#: refused by not being in here.
_UNICAST = IPv6Network("2000::/3")
_SIX = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo: an IPv4 address inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)


def is_public(address: Address) -> bool:
    """Whether this is plain unicast of the Internet; a mapped IPv4 address is judged as IPv4."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _FOUR)
    return address in _UNICAST and not any(address in network for network in _SIX)


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Whether one of the networks has the address."""
    address = plain(address)
    return any(address in network for network in networks)


def plain(address: Address) -> Address:
    """The address that a connection would really go to: ``::ffff:0:0/96`` is IPv4."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def address_of(host: str) -> Address | None:
    """The address that ``host`` is, in its one strict form; None where it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
