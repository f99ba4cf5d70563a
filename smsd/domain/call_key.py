"""Under which key a call is carried out once, and how another call under the same key is known.

The body counts by what it says: who is asking, where that is said, and fields that are null or
left out make no difference, so that a retry after the secret was changed, or after an upgrade, is
still the same call.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

LENGTH = 255
#: 1 to 255 visible characters of ASCII.
SHAPE = rf"^[!-~]{{1,{LENGTH}}}$"

_encode = msgspec.json.Encoder(order="sorted").encode
_IDENTITY = ("org_id", "secret_key")


class CallKey(Struct, frozen=True):
    """``fingerprint``: hex SHA-256 of the call that carries it."""

    name: str
    fingerprint: str


def named(name: str, call: str, body: Struct) -> CallKey:
    """``call`` is what is done with the body: the same under another path is another call."""
    said = {field: each for field, each in _said(body).items() if field not in _IDENTITY}
    return CallKey(name, hashlib.sha256(_encode([call, said])).hexdigest())


def _said(body: Struct) -> dict[str, Any]:
    found = _without_null(msgspec.to_builtins(body))
    assert isinstance(found, dict)
    return found


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    return value
