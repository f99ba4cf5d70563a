"""A route says who may call it, what it takes and what it answers, in one decorator.

    @route("POST", "/send/<org_id>", identity=Identity.MEMBER, scopes=("send",), body=SendBody,
           answer=SendAnswer)
    async def send(services, caller, body): ...

What a route says is all there is: requests are checked by it, and the OpenAPI document is made
of it. The function behind it gets the services, the proven caller (unless anybody may call), the
checked body, query or header (where it takes one), what else its path names and, if it may wait,
the request itself, and returns what is to be answered: as a `Reply` where that has headers of its
own, and None where it has left the connection to another protocol.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from smsd.domain.keys import Scope
from smsd.rest.body import Body, Identified, Letter
from smsd.rest.header import Header
from smsd.rest.identity import Identity, bearer, claim_token, credentials, keyed
from smsd.rest.parameters import Parameters
from smsd.rest.reply import JSON, Reply
from smsd.rest.request import Request

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller, Newcomer
    from smsd.gateway.rotation import Keeper
    from smsd.rest.services import Services

Serve = Callable[..., Awaitable[Struct | bytes | None]]

#: Of a route that no API key opens: only whoever has the SecretKey may call it.
SECRET_ONLY = None

#: What a path may name of whoever asks; all else in it is for the route itself.
_IDENTITY = ("org_id", "secret_key")
_NAME = re.compile(r"<(\w+)>")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Route:
    """One thing that clients can ask for, under one path or several."""

    method: str
    paths: tuple[str, ...]
    serve: Serve
    identity: Identity
    answer: Any
    #: What an API key must be good for to open it; `SECRET_ONLY` where none does.
    scopes: tuple[Scope, ...] | None = SECRET_ONLY
    body: Body[Any] | None = None
    query: Parameters[Any] | None = None
    header: Header | None = None
    example: Any = None
    #: What the path names beside who is asking.
    named: tuple[str, ...] = ()
    #: Whether it may wait for something to happen, and must see its client go meanwhile.
    waits: bool = False
    #: What the answer is written in.
    content_type: str = JSON

    async def respond(
        self, services: Services, request: Request, path: Mapping[str, str]
    ) -> Reply | None:
        """From a request to its answer: open, recognise, check, serve. None: the connection was
        left to another protocol."""
        letter = self.body.opened(request) if self.body else None
        asked: list[Any] = []
        if self.identity is not Identity.NONE:
            asked.append(await self._recognise(services, request, path, letter))
        if letter:
            asked.append(letter.checked())
        if self.query:
            asked.append(self.query.read(request.query))
        if self.header:
            asked.append(self.header.read(request))
        if self.named:
            asked += [path[name] for name in self.named]
        if self.waits:
            asked.append(request)
        answer = await self.serve(services, *asked)
        if answer is None or isinstance(answer, Reply):
            return answer
        return Reply(answer if isinstance(answer, bytes) else _encode(answer), content_type=JSON)

    async def _recognise(
        self,
        services: Services,
        request: Request,
        path: Mapping[str, str],
        letter: Letter[Identified] | None,
    ) -> Caller | Newcomer | Keeper:
        if key := bearer(request):
            org_id = keyed(credentials(request, path, letter))
            return await services.doorman.open(org_id, key, self.scopes)
        if self.identity is Identity.KEEPER:
            return await services.rotation.keeper(
                credentials(request, path, letter), request.address
            )
        claims = self.identity is Identity.CLAIMS
        caller = await services.doorman.recognise(
            credentials(request, path, letter),
            request.address,
            claim=claims,
            claim_token=claim_token(request, {}, letter) if claims else None,
        )
        if "secret_key" in path:
            services.path_secrets.seen(caller.org_id)
        return caller


def route(
    method: str,
    *paths: str,
    identity: Identity,
    answer: Any,
    scopes: tuple[Scope, ...] | EllipsisType | None = ...,
    body: Body[Any] | None = None,
    query: type[Struct] | None = None,
    header: Header | None = None,
    waits: bool = False,
    example: Any = None,
    content_type: str = JSON,
) -> Callable[[Serve], Route]:
    """Make a `Route` of the function below. Its docstring goes into the OpenAPI document: the
    first line as summary, the rest as description.

    Whoever needs an identity must also say which ``scopes`` an API key needs for it, or
    `SECRET_ONLY`; raises TypeError where that was forgotten.
    """
    if scopes is ... and identity is not Identity.NONE:
        raise TypeError(f"{method} {paths[0]} must say which scopes an API key needs for it")
    needed = SECRET_ONLY if isinstance(scopes, EllipsisType) else scopes

    def routed(serve: Serve) -> Route:
        asked = Parameters(query) if query else None
        named = tuple(name for name in _NAME.findall(paths[0]) if name not in _IDENTITY)
        return Route(
            method,
            paths,
            serve,
            identity,
            answer,
            needed,
            body,
            asked,
            header,
            example,
            named,
            waits,
            content_type,
        )

    return routed
