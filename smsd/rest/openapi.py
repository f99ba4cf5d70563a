"""The OpenAPI 3.1 document, made of the routes and of the very types that check requests.

Nothing is written down twice: summaries are the routes' docstrings, rules the types' own. Only
what no type says (statuses, headers, where a secret goes) is said here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from smsd import __version__
from smsd.domain.keys import MARK
from smsd.rest.header import IDEMPOTENCY_KEY, LAST_EVENT_ID, Header
from smsd.rest.identity import Identity
from smsd.rest.openapi_headers import AGAIN, COMPONENTS, with_headers
from smsd.rest.openapi_unrouted import (
    GATEWAY,
    ORG,
    PHONES,
    PROGRAMS,
    REF,
    SECRET,
    TAGS,
    Json,
    described_page,
    problem,
    websocket,
)
from smsd.rest.pages import Page
from smsd.rest.problems import ProblemDetails
from smsd.rest.reply import JSON
from smsd.rest.route import SECRET_ONLY, Route, route
from smsd.rest.services import Services

_ABOUT = (
    "Phones store received SMS and fetch those to be sent; agents read and send. An OrgId is "
    "claimed, together with its secret, by the first call of a phone. The SecretKey goes best "
    "into the header `X-Secret-Key`."
)
#: In a body both may be left out where a header or the path says them.
_IN_BODY: Json = {
    "properties": {
        "org_id": {"anyOf": [ORG, {"type": "null"}]},
        "secret_key": {"anyOf": [SECRET, {"type": "null"}]},
    }
}
_PLACES: Json = {
    "id": {"description": "The id that it was given.", "schema": {"type": "string"}},
    "org_id": {"description": "The OrgId.", "schema": ORG},
    "number": {
        "description": "A number, or a sender's name; a `+` may be written as it is.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"\S"},
        "example": "+15553334444",
    },
    "ticket": {
        "description": "The id that `POST /send` gave.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "secret_key": {
        "description": "The SecretKey. Percent-encoded, so that even / may be part of it; but "
        "proxies log paths, so the header is the better place.",
        "schema": SECRET,
    },
}

#: Who calls a route, which is the first thing that a reader wants to know.
_READERS: dict[Identity, str] = {
    Identity.MEMBER: PROGRAMS,
    Identity.KEEPER: PROGRAMS,
    Identity.CLAIMS: PHONES,
    Identity.NONE: GATEWAY,
}

#: What pages are made of; no client asks for these by themselves.
_ASSETS = ("/static/", "/favicon")


def described(routes: Sequence[Route], pages: Iterable[Page] = ()) -> Route:
    """The route that serves the document; the document lists it too."""
    served: list[bytes] = []

    @route("GET", "/openapi.json", identity=Identity.NONE, answer=dict[str, Any])
    async def openapi(services: Services) -> bytes:
        """Read this description of the API (OpenAPI 3.1)."""
        return served[0]

    served.append(msgspec.json.encode(document((*routes, openapi), pages)))
    return openapi


def document(routes: Sequence[Route], pages: Iterable[Page] = ()) -> Json:
    """The whole document."""
    schemas = _Schemas(routes)
    paths: Json = {}
    for each in routes:
        for path in each.paths:
            paths.setdefault(_template(path), {})[each.method.lower()] = _operation(
                each, path, schemas
            )
    paths["/websocket"] = {"get": websocket()}
    for page in pages:
        if not page.path.startswith(_ASSETS):
            paths.setdefault(page.path, {"get": described_page(page)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smsd",
            "version": __version__,
            "summary": "An SMS gateway made of Android phones",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": TAGS,
        "paths": paths,
        "components": {
            "headers": COMPONENTS,
            "schemas": schemas.components,
            "securitySchemes": {
                "SecretKey": {"type": "apiKey", "in": "header", "name": "X-Secret-Key"},
                "ApiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": f"{MARK}…",
                    "description": "An API key (POST /keys/{org_id}); each call names the scopes "
                    "that it needs.",
                },
            },
        },
    }


class _Schemas:
    """The JSON schemas of all types that the routes name."""

    def __init__(self, routes: Sequence[Route]) -> None:
        kinds = [ProblemDetails, *(kind for each in routes for kind in _kinds(each))]
        schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
        self._by_kind = dict(zip(map(str, kinds), schemas, strict=True))
        self.components = dict(components)
        self._queries = {
            each.query.kind.__name__: self.components.pop(each.query.kind.__name__)
            for each in routes
            if each.query
        }

    def of(self, kind: Any) -> Json:
        return self._by_kind[str(kind)]

    def parameters(self, kind: type[msgspec.Struct]) -> list[Json]:
        """A query record as parameters of a URL."""
        query = self._queries[kind.__name__]
        properties: Json = query["properties"]
        required = query.get("required", ())
        return [
            _parameter(name, schema, needed=name in required) for name, schema in properties.items()
        ]


def _kinds(each: Route) -> list[Any]:
    asked = [reader.kind for reader in (each.body, each.query) if reader]
    return [each.answer, *asked]


def _parameter(name: str, schema: Json, *, needed: bool) -> Json:
    """In a URL there is no null: what is not asked for is left out."""
    given = dict(schema)
    if given.get("default", ...) is None:
        del given["default"]
    options = [option for option in given.pop("anyOf", []) if option != {"type": "null"}]
    given |= options[0] if options else {}
    if None in given.get("enum", []):
        given["enum"] = [word for word in given["enum"] if word is not None]
    description = given.pop("description", "")
    parameter = {"name": name, "in": "query", "description": description, "schema": given}
    return {**parameter, "required": True} if needed else parameter


def _operation(each: Route, path: str, schemas: _Schemas) -> Json:
    summary, _, rest = (inspect.getdoc(each.serve) or "").partition("\n")
    by_path = "secret_key" in path
    operation: Json = {
        "operationId": each.serve.__name__ + ("_with_secret_in_path" if by_path else ""),
        "tags": [_READERS[each.identity]],
        "summary": summary.rstrip("."),
        "description": rest.strip(),
        "parameters": [_place(name) for name in _names(path)],
        "responses": _responses(each, schemas),
    }
    if each.query:
        operation["parameters"] += schemas.parameters(each.query.kind)
    if each.header:
        operation["parameters"] += [_header(each.header)]
    if each.body:
        operation["requestBody"] = _request_body(each.body, schemas)
    if each.identity is not Identity.NONE and not by_path:
        operation["security"] = _security(each)
    return operation


def _security(each: Route) -> list[Json]:
    """What opens it: either of these. In a body there may be a secret too."""
    key = [] if each.scopes is SECRET_ONLY else [{"ApiKey": list(each.scopes)}]
    return [{"SecretKey": []}, *key, *([{}] if each.body else [])]


def _header(header: Header) -> Json:
    schema = {"type": "string", "pattern": header.shape}
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "schema": schema,
    }


def _request_body(body: Any, schemas: _Schemas) -> Json:
    rules = [rule for rule in (schemas.of(body.kind), _IN_BODY, body.rule) if rule]
    schema = {"allOf": rules}
    return {
        "required": not body.bare,
        "content": {JSON: {"schema": schema, "example": body.example}},
    }


def _responses(each: Route, schemas: _Schemas) -> Json:
    content: Json = {"schema": schemas.of(each.answer)}
    if each.example is not None:
        content["example"] = each.example
    told: Json = {"200": {"description": "Done.", "content": {each.content_type: content}}}
    if each.header is IDEMPOTENCY_KEY:
        told["200"]["headers"] = AGAIN
    problems = {str(status): problem(status) for status in _statuses(each)}
    return with_headers(told | problems | _OTHERWISE)


def _statuses(each: Route) -> list[int]:
    statuses = [503]
    if each.identity is not Identity.NONE:
        statuses += [400, 401, 403, 429]
    if each.header is LAST_EVENT_ID:
        statuses += [410]
    if each.body:
        statuses += [413, 415, 422]
    if each.query:
        statuses += [422]
    return sorted(set(statuses))


_OTHERWISE: Json = {"default": {**problem(400), "description": "Any other problem"}}


def _place(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, **_PLACES[name]}


def _names(path: str) -> list[str]:
    return re.findall("<([a-z_]+)>", path)


def _template(path: str) -> str:
    return re.sub("<([a-z_]+)>", r"{\1}", path)
