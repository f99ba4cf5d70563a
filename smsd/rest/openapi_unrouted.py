"""What the OpenAPI document says of what no route describes: the WebSocket, and the pages.

With them the words that all its operations share. The document is put together elsewhere.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from smsd.domain.credentials import ORG_ID, SECRET_LENGTH
from smsd.rest.openapi_headers import with_headers
from smsd.rest.pages import Page
from smsd.rest.problems import PROBLEM_JSON

Json = dict[str, Any]

REF = "#/components/schemas/{name}"
SECRET: Json = {"type": "string", "minLength": SECRET_LENGTH[0], "maxLength": SECRET_LENGTH[1]}
ORG: Json = {"type": "string", "pattern": ORG_ID}

PROGRAMS, PHONES, GATEWAY = "Programs", "Phones", "The gateway"
#: In the order in which they are shown.
TAGS: list[Json] = [
    {"name": PROGRAMS, "description": "Read, send, and keep an org in order."},
    {"name": PHONES, "description": "Hand SMS in, and fetch those that are to be sent."},
    {"name": GATEWAY, "description": "How it is, and what it says of itself."},
]


def problem(status: int) -> Json:
    """An answer of this status that says what was wrong."""
    return {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM_JSON: {"schema": {"$ref": REF.format(name="ProblemDetails")}}},
    }


#: What a phone may say in the URL beside who it is.
_PHONE: Json = {
    "device_id": {"type": "string", "minLength": 1, "maxLength": 64},
    "ledger": {"type": "string", "enum": ["1", "true"]},
    "claim_token": {"type": "string"},
    "key": {"type": "string"},
}


def websocket() -> Json:
    """How a phone connects."""
    return {
        "operationId": "connect_phone",
        "tags": [PHONES],
        "summary": "Connect a phone (WebSocket, RFC 6455)",
        "description": "With OrgId and SecretKey (or an API key) in the query or the headers, or "
        "with neither and then an `auth` frame.",
        "parameters": [
            {"name": name, "in": "query", "schema": schema}
            for name, schema in {**_PHONE, "org_id": ORG, "secret_key": SECRET}.items()
        ],
        "security": [{"SecretKey": []}, {"ApiKey": ["phone"]}, {}],
        "responses": with_headers(
            {
                "101": {"description": "The connection is a WebSocket now."},
                **{str(status): problem(status) for status in (400, 401, 403, 422, 426, 429, 503)},
            }
        ),
    }


def described_page(page: Page) -> Json:
    """A page that people read."""
    kind = page.content_type.partition(";")[0]
    return {
        "tags": [GATEWAY],
        "summary": page.told,
        "responses": with_headers({"200": {"description": "The page.", "content": {kind: {}}}}),
    }
