"""Real sockets, plain and TLS: what memory cannot show."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey
from twisted.internet import reactor as reactor_
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.threads import deferToThread

if TYPE_CHECKING:
    from smsd.rest.site import Site
    from tests.rest.conftest import Browser, Notes

# Twisted hands pyOpenSSL objects that pyOpenSSL would rather not take any more.
pytestmark = pytest.mark.filterwarnings("ignore:.*pyOpenSSL:DeprecationWarning")

reactor: Any = reactor_

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Version": "13",
}
GOOD = "/websocket?org_id=myorg&secret_key=my-secret-key-123"

Talk = Callable[[socket.socket], Any]


def certificate() -> CertificateOptions:
    """One that signs itself, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    ).sign(key, hashes.SHA256())
    return CertificateOptions(
        privateKey=PKey.from_cryptography_key(key), certificate=X509.from_cryptography(signed)
    )


def listening(site: Site, tls: bool) -> IListeningPort:
    port: IListeningPort
    if tls:
        port = reactor.listenSSL(0, site, certificate(), interface="127.0.0.1")
    else:
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
    return port


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def tls(request: Any) -> bool:
    return bool(request.param)


@pytest_twisted.async_yield_fixture
async def talk(real_site: Site, tls: bool) -> AsyncIterator[Callable[[Talk], Any]]:
    """Runs a blocking conversation in a thread, on a connection of its own."""
    port = listening(real_site, tls)
    address = port.getHost()

    def converse(conversation: Talk) -> Any:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.ExitStack() as stack:
            plain = socket.create_connection((address.host, address.port), timeout=10)
            stack.enter_context(plain)
            line = stack.enter_context(context.wrap_socket(plain)) if tls else plain
            return conversation(line)

    yield lambda conversation: deferToThread(converse, conversation)
    await port.stopListening()
    for channel in real_site.deadlines.watched():
        channel.transport.abortConnection()


def everything(line: socket.socket) -> bytes:
    heard = b""
    with contextlib.suppress(ssl.SSLEOFError):
        while chunk := line.recv(65536):
            heard += chunk
    return heard


class Echo(Protocol):
    """Gives back what it is fed, and closes at a full stop."""

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)
        if data.endswith(b"."):
            transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_a_request_over_a_real_connection(talk: Any) -> None:
    def conversation(line: socket.socket) -> bytes:
        line.sendall(HEALTH)
        return everything(line)

    assert (await talk(conversation)).endswith(b'\r\n\r\n{"status":"ok"}')


@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_a_client_that_goes_on_sending(talk: Any) -> None:
    def conversation(line: socket.socket) -> bytes:
        line.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(20):
            line.sendall(b" " * 100_000)
        return line.recv(65536)

    assert (await talk(conversation)).startswith(b"HTTP/1.1 413 ")


@pytest_twisted.ensureDeferred
async def test_a_connection_is_handed_over(talk: Any, notes: Notes, browser: Browser) -> None:
    held: list[weakref.ref[Any]] = []

    def upgrade(request: Any, *_: Any, **__: Any) -> None:
        held.extend([weakref.ref(request), weakref.ref(request.channel)])
        request.hand_over(Echo(), b"head ")

    notes.upgrade = upgrade  # type: ignore[method-assign,assignment]
    raw = browser.raw("GET", GOOD, **HANDSHAKE)

    def conversation(line: socket.socket) -> bytes:
        line.sendall(raw + b"one ")
        heard = line.recv(9, socket.MSG_WAITALL) if not isinstance(line, ssl.SSLSocket) else b""
        while len(heard) < 9:
            heard += line.recv(9 - len(heard))
        line.sendall(b"two.")
        return heard + everything(line)

    assert await talk(conversation) == b"head one two."
    gc.collect()
    assert [one() for one in held] == [None, None]


@pytest_twisted.ensureDeferred
async def test_answers_larger_than_what_a_kernel_buffers_arrive_one_after_another(
    talk: Any, notes: Notes, browser: Browser
) -> None:
    body = b"x" * 7_000_000

    async def messages(*_: Any) -> bytes:
        return body

    notes.messages = messages  # type: ignore[method-assign]
    asked = {"X_Secret_Key": "my-secret-key-123"}
    raw = [browser.raw("GET", "/messages/myorg", **asked) for _ in range(2)]
    raw.append(browser.raw("GET", "/messages/myorg", **asked, Connection="close"))

    def conversation(line: socket.socket) -> bytes:
        line.sendall(b"".join(raw))
        return everything(line)

    heard = await talk(conversation)
    assert heard.count(b"HTTP/1.1 200 OK") == 3
    assert heard.count(body) == 3
