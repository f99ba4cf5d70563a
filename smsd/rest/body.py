"""The body of a request: opened before anybody knows who sent it, judged only afterwards.

A stranger learns whether the bytes are JSON, and nothing else. So a letter is first opened for
the identity that it may carry, and `checked` once the doorman has let the sender in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from smsd.domain.errors import UnsupportedMedia
from smsd.domain.reading import Reader, parsed
from smsd.rest.request import Request

_CHARSET = re.compile(r"""charset\s*=\s*["']?([^"';,\s]*)""", re.IGNORECASE)
_UTF8 = ("utf-8", "utf8")

#: A shape that no identity can have, for what was given but is not text.
_SHAPELESS = ""


class Identified(Struct, frozen=True, kw_only=True):
    """A body that may say who sends it; the path and the headers may say it too."""

    org_id: str | None = None
    secret_key: str | None = None


T = TypeVar("T", bound=Identified)


class Letter(Generic[T]):
    """A body that is a JSON object: whole and right, or else as far as it is JSON."""

    __slots__ = ("_fields", "_reader", "_value")

    def __init__(self, value: T | None, fields: Mapping[str, Any], reader: Reader[T]) -> None:
        self._value = value
        self._fields = fields
        self._reader = reader

    def field(self, name: str) -> str | None:
        """What the body says for one of the fields of an identity."""
        if self._value is not None:
            return getattr(self._value, name, None)
        given = self._fields.get(name)
        return given if given is None or isinstance(given, str) else _SHAPELESS

    def checked(self) -> T:
        """The body as its type; raises `Invalid` with every fault."""
        return self._reader.build(self._fields) if self._value is None else self._value


class Body(Generic[T]):
    """Opens the bodies of one route. ``lenient`` as in `Reader`; ``bare``: none at all says as
    much as an empty object.

    For the OpenAPI document: an ``example``, and a ``rule`` (JSON Schema) that goes beyond what
    types can say.
    """

    def __init__(
        self,
        kind: type[T],
        *,
        lenient: bool = False,
        bare: bool = False,
        example: Mapping[str, Any] | None = None,
        rule: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.bare = bare
        self.example = example
        self.rule = rule
        self._reader = Reader(kind, lenient=lenient)
        self._decoder = msgspec.json.Decoder(kind)

    def opened(self, request: Request) -> Letter[T]:
        """Raises `UnsupportedMedia` or `NotJson`. In the good case the one pass is the only."""
        refuse_odd_media(request)
        raw = request.body or (b"{}" if self.bare else b"")
        try:
            return Letter(self._decoder.decode(raw), {}, self._reader)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
            return Letter(None, parsed(raw), self._reader)


def refuse_odd_media(request: Request) -> None:
    """Refuse what says that it is not plain UTF-8 (whatever else ``Content-Type`` says)."""
    for coding in request.said(b"content-encoding"):
        if coding.lower() not in ("", "identity"):
            raise UnsupportedMedia
    for kind in request.said(b"content-type"):
        charset = _CHARSET.search(kind)
        if charset and charset[1].lower() not in _UTF8:
            raise UnsupportedMedia
