"""Who calls through a proxy: agents and phones that trust its certificate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from canaries import canaries
from proxies import Proxy
from visitors import Agent, Org, Phone, calling, new_address
from websockets.frames import Opcode
from websockets.sync.client import ClientConnection

LIMIT = 1 << 20


def trusting(front: Proxy) -> ssl.SSLContext:
    """TLS 1.2, whose server has nothing to say after the handshake. The tickets that TLS 1.3 sends
    there are read by one thread of the client while another writes, which OpenSSL does not allow:
    a handshake in a thousand was lost. https://github.com/python/cpython/issues/124984
    """
    trust = ssl.create_default_context(cafile=str(front.home / "cert.pem"))
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    return trust


def agent(front: Proxy, address: str = "127.0.0.1") -> Agent:
    made = Agent(front.url, address)
    made.verify = str(front.home / "cert.pem")
    return made


def org_behind(front: Proxy, secret: str | None = None) -> Org:
    """An org whose people call from an address of their own, through the proxy."""
    org = Org(front.url, secret=secret or canaries.secret(), address=new_address())
    return at(org, front, org.address)


def at(org: Org, front: Proxy, address: str) -> Org:
    """The same org's people at another address."""
    there = org.at(address)
    there.agent.verify = str(front.home / "cert.pem")
    return there


class Pinged(ClientConnection):
    """Counts the pings that come."""

    pings = 0

    def process_event(self, event: Any) -> None:
        self.pings += getattr(event, "opcode", None) is Opcode.PING
        super().process_event(event)


@contextmanager
def phone_of(org: Org, front: Proxy) -> Iterator[Phone]:
    options = {"ssl": trusting(front), "create_connection": Pinged}
    with calling(org.socket_url(), org.address, **options) as phone:
        assert phone.hear() == {"type": "connected", "org_id": org.id}
        yield phone


def served(org: Org, phone: Phone) -> None:
    """A ticket goes to the phone, and its result comes back."""
    ticket = org.ticket()
    pushed = phone.hear()
    assert (pushed["type"], pushed["id"]) == ("send_sms", ticket)
    phone.confirm(ticket)
    assert org.settled(ticket)["status"] == "sent"
