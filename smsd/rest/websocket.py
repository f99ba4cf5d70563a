"""``GET /websocket``: the doorman in front of the upgrade.

A phone that may not come in reads an ordinary HTTP answer. One that may is handed on together
with its connection; what is spoken there is the phone face's part.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from smsd.domain.credentials import agreed
from smsd.domain.errors import BadRequest, Forbidden, Unauthorised, UpgradeRequired
from smsd.domain.keys import looks_like_key
from smsd.rest.cors import Cors
from smsd.rest.identity import bearer, claim_token, credentials, keyed
from smsd.rest.parameters import Parameters, pairs
from smsd.rest.request import Request

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller, Newcomer
    from smsd.rest.services import Services

PATH = "/websocket"

_VERSION = "13"
_IDENTITY = ("org_id", "secret_key", "claim_token", "key")
_ASK = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": _VERSION}


class PhoneOptions(Struct, frozen=True, kw_only=True):
    """What a phone may say in the URL beside who it is (contract section 3)."""

    device_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                pattern=r"^[^\x00]*$",
                description="must be a name of 1 to 64 characters",
            ),
        ]
        | None
    ) = None
    ledger: str | None = None

    @property
    def keeps_ledger(self) -> bool:
        return (self.ledger or "").lower() in ("1", "true")


_options = Parameters(PhoneOptions)


async def upgrade(services: Services, cors: Cors, request: Request) -> None:
    """Judge the handshake, then the phone, and leave the connection to its session."""
    check_handshake(request)
    check_origin(request, cors)
    said = _said_once(pairs(request.query))
    admitted = await _admitted(services, request, said)
    options = _options.read(request.query)
    if request.gone:
        return
    waiting = services.upgrade(
        request, admitted, device_id=options.device_id, ledger=options.keeps_ledger
    )
    if waiting is not None:
        await waiting
    if not (request.finished or request.gone):
        raise RuntimeError("the connection was not handed over")


def _said_once(query: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters of the URL; raises `Contradiction` for two values of one identity."""
    said: dict[str, str] = {}
    for name, value in query:
        if name in _IDENTITY:
            agreed(f"{name} in the URL", (said.get(name), value))
        said[name] = value
    return said


async def _admitted(
    services: Services, request: Request, said: Mapping[str, str]
) -> Caller | Newcomer | None:
    """Who the phone proved to be; None where it says neither org nor secret."""
    given = credentials(request, said)
    if key := _key(request, said):
        return await services.doorman.open(keyed(given), key, ("phone",))
    if given.org_id is None and given.secret is None:
        return None
    if given.org_id is None or given.secret is None:
        raise Unauthorised
    token = claim_token(request, said)
    return await services.doorman.recognise(given, request.address, claim=True, claim_token=token)


def _key(request: Request, said: Mapping[str, str]) -> str | None:
    """The phone's API key; what no key looks like is nobody's."""
    named = said.get("key")
    in_url = named if named is not None and looks_like_key(named) else None
    return agreed("the API key", (bearer(request), in_url))


def check_handshake(request: Request) -> None:
    """Whether this is RFC 6455's opening handshake (section 4.2.1)."""
    if "websocket" not in _tokens(request, b"upgrade"):
        raise UpgradeRequired(headers=_ASK)
    if _tokens(request, b"sec-websocket-version") != [_VERSION]:
        raise UpgradeRequired(headers=_ASK)
    if "upgrade" not in _tokens(request, b"connection"):
        raise BadRequest("A WebSocket handshake has the header Connection: Upgrade.")
    if request.clientproto != b"HTTP/1.1":
        raise BadRequest("A WebSocket handshake is HTTP/1.1.")
    if [len(_decoded(key)) for key in request.said(b"sec-websocket-key")] != [16]:
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64, once.")


def check_origin(request: Request, cors: Cors) -> None:
    """Whether the page that opens this connection, if any, may: phones name no origin."""
    own = request.said(b"host")
    for origin in request.said(b"origin"):
        if not (cors.allows(origin) or _host(origin) in [host.lower() for host in own]):
            raise Forbidden("Pages of this origin may not connect (setting allow_origins).")


def _tokens(request: Request, header: bytes) -> list[str]:
    values = ",".join(request.said(header)).split(",")
    return [value.strip().lower() for value in values if value.strip()]


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
