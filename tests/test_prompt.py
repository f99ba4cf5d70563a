"""What is written to a connection is with its client at once, and in order where it is not."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from smsd.listening import Listeners

#: More than the kernel holds for a client that reads nothing.
MUCH = [bytes([n]) * 65536 for n in range(200)]


class Host(Protocol):
    """The gateway's end of a connection."""

    def __init__(self) -> None:
        self.made: Deferred[Any] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


@pytest_twisted.async_yield_fixture(params=["tcp", "unix"])
async def ends(request: Any, tmp_path: Path) -> AsyncIterator[tuple[Host, socket.socket]]:
    """Both ends of a connection: the gateway's, and a plain socket."""
    host, factory = Host(), Factory()
    factory.buildProtocol = lambda _: host  # type: ignore[method-assign, assignment, return-value]
    path = str(tmp_path / "socket")
    endpoint = {"tcp": "tcp:0:interface=127.0.0.1", "unix": f"unix:{path}"}[request.param]
    listeners = Listeners(reactor, [endpoint])
    await listeners.open(factory)
    if request.param == "tcp":
        client = socket.create_connection(
            ("127.0.0.1", int(listeners.urls[0].rpartition(":")[2])), 10
        )
    else:
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
    await host.made
    client.settimeout(10)
    yield host, client
    client.close()
    await host.lost
    await listeners.close()


def read(client: socket.socket, size: int) -> bytes:
    told = b""
    while len(told) < size and (piece := client.recv(1 << 20)):
        told += piece
    return told


@pytest_twisted.ensureDeferred
async def test_what_is_written_is_with_the_client_before_the_reactor_turns(
    ends: tuple[Host, socket.socket],
) -> None:
    host, client = ends
    assert host.transport is not None
    host.transport.write(b"one ")
    host.transport.writeSequence([b"two", b" three"])
    assert client.recv(100, socket.MSG_DONTWAIT) == b"one two three"


@pytest_twisted.ensureDeferred
async def test_what_the_kernel_does_not_take_at_once_follows_in_order(
    ends: tuple[Host, socket.socket],
) -> None:
    host, client = ends
    assert host.transport is not None
    host.transport.write(b"".join(MUCH[:100]))
    for piece in MUCH[100:]:
        host.transport.write(piece)
    host.transport.writeSequence([b"the", b" end"])
    host.transport.loseConnection()
    told = b"".join(MUCH) + b"the end"
    assert await deferToThread(read, client, len(told) + 1) == told


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_read_up_is_written_to_at_once_again(
    ends: tuple[Host, socket.socket],
) -> None:
    host, client = ends
    assert host.transport is not None
    host.transport.write(b"".join(MUCH))
    await deferToThread(read, client, 65536 * len(MUCH))
    host.transport.write(b"again")
    assert client.recv(100, socket.MSG_DONTWAIT) == b"again"


@pytest_twisted.ensureDeferred
async def test_writing_to_one_who_hung_up_raises_nothing_and_ends_the_connection(
    ends: tuple[Host, socket.socket],
) -> None:
    host, client = ends
    assert host.transport is not None
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    for _ in range(3):
        host.transport.write(b"is anybody there?")
    await host.lost
    host.transport.write(b"not any more")


@pytest_twisted.ensureDeferred
async def test_nothing_follows_the_goodbye(ends: tuple[Host, socket.socket]) -> None:
    host, client = ends
    assert host.transport is not None
    host.transport.write(b"goodbye")
    host.transport.loseConnection()
    host.transport.write(b"")
    assert await deferToThread(read, client, 100) == b"goodbye"
