"""Listening on loopback for the length of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted
from receivers import Listen, Receiver, Talks
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString


@pytest_twisted.async_yield_fixture
async def listen() -> AsyncIterator[Listen]:
    """Makes a receiver listen, and gives its port."""
    ports = []
    receivers = []

    async def listen(receiver: Receiver, endpoint: str = "tcp:0:interface=127.0.0.1") -> int:
        receivers.append(receiver)
        ports.append(await serverFromString(reactor, endpoint).listen(Talks(receiver)))
        return int(ports[-1].getHost().port)

    yield listen
    for port in ports:
        await port.stopListening()
    for receiver in receivers:
        for one in list(receiver.open):
            one.transport.abortConnection()
        await receiver.until(lambda receiver=receiver: not receiver.open)
