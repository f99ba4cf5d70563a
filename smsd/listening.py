"""Where the gateway listens: endpoints opened in order, closed together, known by their URLs.

The certificates of ``ssl:`` endpoints can be read again; connections that are open keep theirs.
What is spoken on them is the faces'.
"""

# mypy: allow-untyped-calls
# (Twisted's endpoints and TLS are only partly annotated.)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IListeningPort, IOpenSSLContextFactory, IProtocolFactory
from twisted.logger import Logger
from zope.interface import implementer

from smsd.domain.settings import Settings
from smsd.prompt import prompt


class UnusableCertificate(RuntimeError):
    """The certificate of an endpoint cannot be used; says which, and why."""


class Listeners:
    """The listeners of one gateway."""

    log = Logger()

    def __init__(self, reactor: Any, endpoints: Sequence[str]) -> None:
        self._reactor = reactor
        self._endpoints = endpoints
        self._ports: list[IListeningPort] = []
        self._certificates: dict[str, _Certificate] = {}
        #: What people type; a unix socket has no URL.
        self.urls: list[str] = []

    async def open(self, factory: IProtocolFactory) -> None:
        """Listen on all of them, in order; where one fails, those before it are still open."""
        for endpoint in self._endpoints:
            port = await serverFromString(self._reactor_for(endpoint), endpoint).listen(factory)
            self._ports.append(prompt(port))
            self.urls += _urls(endpoint, port.getHost())

    async def close(self) -> None:
        """Accept no more connections."""
        while self._ports:
            await self._ports.pop().stopListening()  # type: ignore[misc]

    def fresh_certificates(self) -> Callable[[], None]:
        """Read the certificates again; what is returned takes them into use.

        Raises `UnusableCertificate` where one of them cannot be.
        """
        fresh = {at: _read(at) for at in self._certificates}

        def use() -> None:
            for at, options in fresh.items():
                self._certificates[at].options = options

        return use

    def _reactor_for(self, endpoint: str) -> Any:
        if not _is_tls(endpoint):
            return self._reactor
        certificate = self._certificates[endpoint] = _Certificate(_read(endpoint))
        return _Dressing(self._reactor, lambda _: certificate)


def wanted(settings: Settings, held: Sequence[str]) -> tuple[str, ...]:
    """The endpoints to listen on; ``held`` are those of the sockets that systemd has for us,
    which are taken unless the settings name others."""
    if not held or any(endpoint.startswith("systemd:") for endpoint in settings.listen):
        return settings.endpoints
    if settings.origin("listen") == "default":
        return tuple(held)
    Listeners.log.warn(
        "a socket that systemd holds for smsd stays unused: listen is set ({origin})",
        origin=settings.origin("listen"),
    )
    return settings.endpoints


@implementer(IOpenSSLContextFactory)
class _Certificate:
    """What an endpoint proves who it is with; asked for at each connection."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def getContext(self) -> Any:
        return self.options.getContext()


class _Dressing:
    """A reactor for an endpoint that listens with TLS; ``dress`` gives it another context."""

    def __init__(self, reactor: Any, dress: Callable[[Any], Any]) -> None:
        self._reactor = reactor
        self._dress = dress

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, **more: Any) -> Any:
        return self._reactor.listenSSL(port, factory, self._dress(contextFactory), **more)


def _read(endpoint: str) -> Any:
    """What the endpoint's files hold now; a parse of the endpoint reads them."""
    read: list[Any] = []
    try:
        serverFromString(_Dressing(_Nowhere(), read.append), endpoint).listen(None)
        read[0].getContext()
    except Exception as error:  # OpenSSL's own errors have no common kind with a missing file
        raise UnusableCertificate(f"{endpoint}: {_reason(error)}") from None
    return read[0]


class _Nowhere:
    """A reactor that listens to nothing."""

    def listenSSL(self, *args: object, **more: object) -> None:
        pass


def _reason(error: Exception) -> str:
    match error:
        case OSError(filename=str(file)):
            return f"{file}: {error.strerror}"
        case VerifyError():
            return "no key and certificate that fit each other"
        case SSL.Error() | crypto.Error():
            return f"OpenSSL cannot use its files (PEM, no pass phrase): {_in_words(error)}"
    return f"cannot be used as an endpoint: {error}"


def _in_words(error: Exception) -> str:
    """What OpenSSL reported, without where in its own code."""
    return ", ".join(reason for *_, reason in (error.args[0] if error.args else ()) if reason)


def _is_tls(endpoint: str) -> bool:
    return endpoint.startswith("ssl:")


def _urls(endpoint: str, host: Any) -> list[str]:
    if getattr(host, "type", None) != "TCP":
        return []
    scheme = "https" if _is_tls(endpoint) else "http"
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host.host, host.host)
    return [f"{scheme}://{f'[{name}]' if ':' in name and name[0] != '[' else name}:{host.port}"]
