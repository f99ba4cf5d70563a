from __future__ import annotations

import gc
import weakref
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.protocol import Protocol

from smsd.rest.channel import LINGER
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from smsd.rest.api import Api
    from tests.rest.conftest import Browser, Notes, Wire


@pytest.fixture
def site(api: Api, clock: Clock) -> Site:
    return Site(api, clock, [ip_network("10.0.0.0/8")], most_per_address=2)


def served(wire: Wire) -> bool:
    wire.ask("GET", "/health")
    return wire.answer().status == 200


def test_an_address_with_enough_connections_is_refused_the_next(
    browser: Browser, clock: Clock
) -> None:
    wires = [browser.wire() for _ in range(3)]
    assert served(wires[0])
    assert served(wires[1])
    wires[2].ask("GET", "/health")
    answer = wires[2].answer()
    assert answer.status == 429
    assert answer.headers["retry-after"] == "5"
    assert wires[2].closed
    clock.pump([1] * int(LINGER + 1))
    assert wires[2].socket.disconnecting


def test_a_connection_that_is_closed_makes_room(browser: Browser) -> None:
    first, _ = browser.wire(), browser.wire()
    first.socket.lost()
    assert served(browser.wire())


def test_a_refused_connection_takes_no_place(browser: Browser) -> None:
    first, _, refused = browser.wire(), browser.wire(), browser.wire()
    refused.socket.lost()
    first.socket.lost()
    assert served(browser.wire())
    assert browser.wire().answer().status == 429


def test_another_address_does_not_notice(browser: Browser) -> None:
    browser.wire(), browser.wire()
    browser.peer = "203.0.113.8"
    assert served(browser.wire())


def test_the_connections_of_a_trusted_proxy_are_its_clients(browser: Browser) -> None:
    browser.peer = "10.1.2.3"
    assert all(served(browser.wire()) for _ in range(5))


def test_addresses_of_one_ipv6_network_are_one(browser: Browser) -> None:
    for peer in ("2001:db8::1", "2001:db8::2"):
        browser.peer = peer
        browser.wire()
    browser.peer = "2001:db8::3"
    assert browser.wire().answer().status == 429


def test_a_phone_counts_as_long_as_it_is_connected(browser: Browser, notes: Notes) -> None:
    def upgrade(request: Any, *_: Any, **__: Any) -> None:
        request.hand_over(Protocol())

    notes.upgrade = upgrade  # type: ignore[method-assign,assignment]
    phone, _ = browser.wire(), browser.wire()
    phone.ask(
        "GET",
        "/websocket",
        Upgrade="websocket",
        Connection="Upgrade",
        Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        Sec_WebSocket_Version="13",
    )
    channel = weakref.ref(phone.channel)
    del phone.channel
    gc.collect()
    assert channel() is None
    assert browser.wire().answer().status == 429
    phone.socket.lost()
    assert served(browser.wire())
