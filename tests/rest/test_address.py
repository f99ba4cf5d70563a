from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from smsd.rest.address import LOCAL, client_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "meant"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, \xff"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_only_a_trusted_proxy_is_believed(peer: str, forwarded: list[str], meant: str) -> None:
    kind: Any = IPv6Address if ":" in peer else IPv4Address
    said = [value.encode("latin-1") for value in forwarded]
    assert client_address(kind("TCP", peer, 1), said, PROXIES) == meant


def test_without_trusted_proxies_nobody_is_believed() -> None:
    peer = IPv4Address("TCP", "127.0.0.1", 1)
    assert client_address(peer, [b"198.51.100.1"], []) == "127.0.0.1"


def test_a_unix_socket_has_no_address() -> None:
    assert client_address(UNIXAddress("/run/x"), [b"198.51.100.1"], PROXIES) == LOCAL
