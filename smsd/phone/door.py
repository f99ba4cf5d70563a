"""Where a request becomes a phone: the doorman has let it in, its connection is handed on."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IProtocol

from smsd.gateway.doorman import Caller, Newcomer
from smsd.gateway.visit import Identity
from smsd.phone.factory import LinkFactory


class Arrival(Protocol):
    """What is needed of the HTTP request that asks for the upgrade."""

    @property
    def address(self) -> str:
        """The client's address."""

    def hand_over(self, protocol: IProtocol, head: bytes | None = None) -> None:
        """Leave the connection, and all bytes of it, to ``protocol``."""


class PhoneDoor:
    """Lets phones in."""

    def __init__(self, links: LinkFactory) -> None:
        self._links = links

    def __call__(
        self,
        request: Arrival,
        admitted: Caller | Newcomer | None,
        *,
        device_id: str | None,
        ledger: bool,
    ) -> None:
        """``admitted`` is None where the phone will say who it is in its first frame."""
        link = self._links.link(request.address, admitted, Identity(device_id, ledger))
        request.hand_over(link)
