"""The query of a URL as a typed record, with every fault listed.

Digits and nothing else are a number; where the type allows a fraction, all that JSON calls one is.
Unknown names are ignored, and of a name that comes twice the last one counts. What the values may
be, their type says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar, get_args
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from smsd.domain.errors import Invalid
from smsd.domain.reading import Reader

T = TypeVar("T", bound=Struct)

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_FRACTION = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


def pairs(query: bytes) -> Iterator[tuple[str, str]]:
    """The names and values of a query. What is not UTF-8 in them becomes lone surrogates."""
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name:
            yield _text(name), _text(value)


class Parameters(Generic[T]):
    """Reads the queries of one route."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._reader = Reader(kind)
        fields = msgspec.structs.fields(kind)
        self._none = None if any(field.required for field in fields) else kind()
        self._numbers = {field.name for field in fields if _is(int, field.type)}
        self._fractions = {field.name for field in fields if _is(float, field.type)}

    def read(self, query: bytes) -> T:
        """Raises `Invalid` with every fault."""
        if not query and self._none is not None:
            return self._none
        try:
            return self._reader.build(
                {name: self._typed(name, text) for name, text in pairs(query)}
            )
        except Invalid as invalid:
            raise Invalid(
                "The query of the URL has wrong values; every fault is listed.",
                errors=invalid.errors,
            ) from None

    def _typed(self, name: str, text: str) -> str | float:
        if name in self._numbers and _WHOLE.fullmatch(text):
            return int(text)
        if name in self._fractions and _FRACTION.fullmatch(text):
            return float(text)
        return text


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


def _is(number: type, kind: Any) -> bool:
    """Whether ``kind`` is such a number, bare, annotated or optional."""
    return kind is number or any(_is(number, inner) for inner in get_args(kind))
