"""The whole REST face as one resource: every route on one Klein app.

Here a request finds its route, and here an exception becomes an answer. What the routes do is
theirs; what a connection may do, `channel`'s.

Klein knows every route, and finds it for whatever is spelt unusually or wrongly. A path as the
documents write it takes a shortcut to the same endpoint: one look into a dictionary made of the
same declarations.
"""

# mypy: allow-untyped-calls
# (twisted.web.http is only partly annotated.)

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import MethodNotAllowed

from smsd.domain.tallies import RouteTally
from smsd.rest import assets, websocket
from smsd.rest.ask import ask
from smsd.rest.cors import Cors
from smsd.rest.deliveries import list_deliveries, replay_hook, rotate_hook, try_hook
from smsd.rest.events import hear_events
from smsd.rest.forget import forget_address
from smsd.rest.health import health, ready
from smsd.rest.hooks import change_hook, delete_hook, list_hooks, make_hook, show_hook
from smsd.rest.keys import delete_key, list_keys, make_key, show_key
from smsd.rest.messages import read_messages
from smsd.rest.openapi import described
from smsd.rest.opt_outs import (
    add_opt_out,
    lift_opt_out,
    list_opt_outs,
    set_opt_outs,
    show_opt_out,
)
from smsd.rest.paces import list_paces, set_pace
from smsd.rest.pages import Page
from smsd.rest.problems import allowed, translated
from smsd.rest.reply import Reply
from smsd.rest.request import Request
from smsd.rest.rotate import rotate_secret
from smsd.rest.route import Route
from smsd.rest.send import send
from smsd.rest.services import Services
from smsd.rest.shortcuts import Shortcuts
from smsd.rest.sims import list_sims
from smsd.rest.ticket import cancel_ticket, show_ticket
from smsd.rest.webhook import store_inbound

#: All that clients of the API can ask for, in the order of the OpenAPI document.
ROUTES: tuple[Route, ...] = (
    store_inbound,
    read_messages,
    forget_address,
    hear_events,
    send,
    ask,
    show_ticket,
    cancel_ticket,
    list_sims,
    list_paces,
    set_pace,
    list_opt_outs,
    set_opt_outs,
    show_opt_out,
    add_opt_out,
    lift_opt_out,
    rotate_secret,
    make_key,
    list_keys,
    show_key,
    delete_key,
    make_hook,
    list_hooks,
    show_hook,
    change_hook,
    delete_hook,
    list_deliveries,
    try_hook,
    replay_hook,
    rotate_hook,
    health,
    ready,
)

T = TypeVar("T")
Respond = Callable[[Request, Mapping[str, str]], Awaitable[Reply | None]]


class Api(Resource):
    """The root of the site. ``origins`` are the web origins that may call from a browser."""

    isLeaf = True

    def __init__(
        self,
        services: Services,
        *,
        pages: Sequence[Page] = (),
        origins: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._services = services
        self._cors = Cors(origins)
        self._clock = clock
        #: How each route fares; and by status what was answered to requests for no route of ours.
        self.tallies: list[RouteTally] = []
        self.strays: Counter[int] = Counter()
        self._app = _app()
        self._app.handle_errors(Exception)(self._unrouted)  # type: ignore[arg-type]
        self._shortcuts = Shortcuts[Respond]()
        for route in (*ROUTES, described(ROUTES, pages)):
            for path in route.paths:
                self._mount(route.method, path, self._responding(route))
        self._mount("GET", websocket.PATH, self._upgrade)
        for page in pages:
            self._mount("GET", page.path, _serving(page))
        self._klein = self._app.resource()

    def allow(self, origins: Sequence[str]) -> None:
        """From here on these web origins may call from a browser, and no others."""
        self._cors.allow(origins)

    def render(self, request: Request) -> Any:
        self._cors.mark(request)
        if found := self._shortcuts.find(request.method, request.postpath or []):
            answered, parts = found
            Deferred.fromCoroutine(_delivered(request, answered(request, parts)))
            return NOT_DONE_YET
        try:
            return self._klein.render(request)
        except Exception as error:
            return request.put(translated(error))

    def _mount(self, method: str, path: str, respond: Respond) -> None:
        clock, tally = self._clock, RouteTally(method, path)
        self.tallies.append(tally)

        async def answered(request: Request, parts: Mapping[str, str]) -> Reply | None:
            began = clock()
            try:
                path = {name: _decoded(part) for name, part in parts.items()}
                reply = await respond(request, path)
            except Exception as error:
                reply = translated(error)
            status = request.left_with if reply is None else reply.status
            if request.waits:  # how long it took says nothing of us
                tally.count(status)
            else:
                tally.add(status, clock() - began)
            return reply

        async def put(request: Request, parts: Mapping[str, str]) -> bytes | None:
            reply = await answered(request, parts)
            return None if reply is None else request.put(reply)

        def endpoint(request: Request, **parts: str) -> Deferred[bytes | None]:
            return _to_the_end(put(request, parts))

        self._app.route(path, methods=[method], endpoint=f"{method} {path}")(endpoint)
        self._shortcuts.add(method, path, answered)

    def _responding(self, route: Route) -> Respond:
        async def respond(request: Request, path: Mapping[str, str]) -> Reply | None:
            return await route.respond(self._services, request, path)

        return respond

    async def _upgrade(self, request: Request, path: Mapping[str, str]) -> None:
        await websocket.upgrade(self._services, self._cors, request)

    def _unrouted(self, request: Request, failure: Failure) -> bytes:
        """What Klein found no route for."""
        error: Any = failure.value
        if request.method == b"OPTIONS" and request.path == b"*":
            error = MethodNotAllowed(["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"])
        if request.method == b"OPTIONS" and isinstance(error, MethodNotAllowed):
            self._cors.mark_preflight(request)
            reply = Reply(status=204, content_type=None, headers={"Allow": allowed(error)})
        else:
            reply = translated(error)
        self.strays[reply.status] += 1
        return request.put(reply)


async def _delivered(request: Request, answer: Awaitable[Reply | None]) -> None:
    reply = await answer
    if reply is not None:
        request.deliver(reply)


def _to_the_end(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine whatever becomes of who waits for it.

    Klein cancels what it waits for when a client hangs up; a commit must not stop half-way.
    """
    waiting: Deferred[T] = Deferred()
    Deferred.fromCoroutine(coroutine).addBoth(waiting.callback)
    return waiting


def _app() -> Klein:
    """Klein without its ways of sending clients to a better spelling of a path."""
    app = Klein()
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    return app


def _serving(page: Page) -> Respond:
    async def respond(request: Request, path: Mapping[str, str]) -> Reply:
        return assets.served(page, request)

    return respond


def _decoded(part: str) -> str:
    """A piece of a path, decoded after the path was split. What is not UTF-8 becomes lone
    surrogates, which no identity may hold."""
    return unquote_to_bytes(part).decode("utf-8", "surrogateescape")
