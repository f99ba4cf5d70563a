"""What the OpenAPI document says of the headers of answers: which, with which status, and why."""

from __future__ import annotations

from typing import Any

from smsd.rest.request_ids import HEADER, SHAPE

Json = dict[str, Any]

_RETRY: Json = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_BY_STATUS: dict[str, Json] = {
    "401": {
        "WWW-Authenticate": {
            "description": "Where the secret belongs.",
            "schema": {"type": "string"},
        }
    },
    "429": _RETRY,
    "503": _RETRY,
}

#: What an answer has that tells of an earlier call under the same key.
AGAIN: Json = {
    "Idempotent-Replayed": {
        "description": "The call was carried out before; its tickets, as they are now.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}

#: What every answer has, said once.
COMPONENTS: Json = {
    "RequestId": {
        "description": "The name of this request in the gateway's log. Send a header of this name "
        "to choose it.",
        "schema": {"type": "string", "pattern": f"^{SHAPE}$"},
    }
}
_ALWAYS: Json = {HEADER: {"$ref": "#/components/headers/RequestId"}}


def with_headers(responses: Json) -> Json:
    """The same responses, by status, with their headers."""
    return {
        status: {
            **told,
            "headers": {**told.get("headers", {}), **_BY_STATUS.get(status, {}), **_ALWAYS},
        }
        for status, told in responses.items()
    }
