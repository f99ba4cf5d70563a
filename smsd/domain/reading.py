"""From bytes to a checked Struct: every input from outside comes in through here.

The fast road is one msgspec pass. Only what that pass refuses is read again, slowly, to list
*every* fault with its place, and to let through what JSON allows but msgspec does not: integral
floats for integers, lone surrogates in a lenient text. The types alone state the rules; there is
no second set of them here.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Generic, TypeVar, get_args, get_origin

import msgspec

from smsd.domain.errors import Fault, Invalid, NotJson

T = TypeVar("T")

DEPTH = 32
_KINDS = {"int": "an integer", "str": "text", "bool": "true or false", "array": "a list"}
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)
_ABSENT = object()


class Unfit(ValueError):
    """What a ``__post_init__`` raises where one field alone is at fault: ``field``, by its name in
    JSON. Its fault then has the place of that field; any other `ValueError` has the object's."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(said)
        self.field = field


class Reader(Generic[T]):
    """Reads one type of body.

    ``lenient`` is for what a phone reports: a broken character becomes U+FFFD, because an SMS
    that has arrived must be kept (contract section 2, ``POST /webhook``).
    """

    def __init__(self, kind: type[T], *, lenient: bool = False) -> None:
        self.kind = kind
        self._lenient = lenient
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, raw: bytes) -> T:
        """The checked value; raises `NotJson`, or `Invalid` with every fault."""
        try:
            return self._decoder.decode(raw)
        except _UNREADABLE:
            return self.build(parsed(raw))

    def build(self, value: object) -> T:
        """The same from JSON that was parsed before (see `parsed`)."""
        faults: list[Fault] = []
        built = _build(mended(value) if self._lenient else value, self.kind, [], faults)
        if faults:
            raise Invalid(errors=faults)
        return built  # type: ignore[no-any-return]


def parsed(raw: bytes) -> dict[str, Any]:
    """A JSON object as plain Python values; raises `NotJson` and says where it breaks off."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise NotJson(f"The body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise NotJson("The body is nested too deeply.") from None
    except ValueError as error:
        raise NotJson(f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise NotJson("The body must be a JSON object, as in {...}.")
    if _deeper_than(value, DEPTH):
        raise NotJson(f"The body is nested more than {DEPTH} levels deep.")
    return value


def mended(value: Any) -> Any:
    """The same value, each half of a broken character replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _integer(text: str) -> int | float:
    # int() of thousands of digits is refused by Python and slow; no field holds such a number.
    return int(text) if len(text) < 400 else float("inf")


def _deeper_than(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)
    return False


def _build(value: Any, kind: Any, loc: list[str | int], faults: list[Fault]) -> Any:
    if value is None and type(None) in get_args(kind):
        return None
    plain, metas = _unwrapped(kind)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return _build_struct(value, plain, loc, faults)
    inner = _struct_list(plain)
    if inner is not None and isinstance(value, list):
        items = [_build(item, inner, [*loc, at], faults) for at, item in enumerate(value)]
        return items if _sized(value, kind, loc, faults) else None
    return _build_leaf(value, kind, metas, loc, faults)


def _build_struct(
    value: Any, kind: type[msgspec.Struct], loc: list[str | int], faults: list[Fault]
) -> Any:
    if not isinstance(value, dict):
        faults.append(Fault(loc, "must be an object, as in {...}"))
        return None
    before, fields = len(faults), {}
    for field in _fields(kind):
        given = value.get(field.encode_name, _ABSENT)
        if given is not _ABSENT:
            fields[field.name] = _build(given, field.type, [*loc, field.encode_name], faults)
        elif field.required:
            faults.append(Fault([*loc, field.encode_name], "is missing"))
    if len(faults) > before:
        return None
    try:
        return kind(**fields)
    except Unfit as error:
        faults.append(Fault([*loc, error.field], str(error)))
    except ValueError as error:  # a __post_init__ that judges the fields together
        faults.append(Fault(loc, str(error)))
    return None


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """msgspec compiles the annotations anew each time: a tenth of what a phone's upgrade took."""
    return msgspec.structs.fields(kind)


def _build_leaf(
    value: Any, kind: Any, metas: list[msgspec.Meta], loc: list[str | int], faults: list[Fault]
) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        if isinstance(value, str):
            value.encode()
        return msgspec.convert(value, kind)
    except UnicodeEncodeError:
        faults.append(Fault(loc, "holds half of a character (a lone surrogate)"))
    except (msgspec.ValidationError, OverflowError) as error:
        faults.append(Fault(loc, _advice(metas) or _plain(error)))
    return None


def _sized(value: list[Any], kind: Any, loc: list[str | int], faults: list[Fault]) -> bool:
    """Whether the list itself has a length that its type allows."""
    _, metas = _unwrapped(kind)
    for meta in metas:
        if not (meta.min_length or 0) <= len(value) <= (meta.max_length or len(value)):
            faults.append(Fault(loc, _advice(metas) or f"must hold at most {meta.max_length}"))
            return False
    return True


def _unwrapped(kind: Any) -> tuple[Any, list[msgspec.Meta]]:
    """The bare type behind ``Annotated`` and ``| None``, and what its annotations say."""
    metas: list[msgspec.Meta] = []
    while True:
        if hasattr(kind, "__metadata__"):
            metas += [m for m in kind.__metadata__ if isinstance(m, msgspec.Meta)]
            kind = kind.__origin__
            continue
        wrapped = [a for a in get_args(kind) if hasattr(a, "__metadata__")]
        if get_origin(kind) is not list and len(wrapped) == 1:
            kind = wrapped[0]
            continue
        if get_origin(kind) is not list:  # several are allowed: each says what would be right
            metas += [m for a in wrapped for m in a.__metadata__ if isinstance(m, msgspec.Meta)]
        return kind, metas


def _struct_list(kind: Any) -> Any:
    """The Struct that ``kind`` is a list of, None where it is no such list."""
    for candidate in (kind, *get_args(kind)):
        if get_origin(candidate) is list:
            (inner,) = get_args(candidate)
            plain, _ = _unwrapped(inner)
            if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
                return inner
    return None


def _advice(metas: list[msgspec.Meta]) -> str | None:
    return next((m.description for m in metas if m.description), None)


def _plain(error: Exception) -> str:
    """msgspec's words in those of the other errors."""
    said = str(error).split(" - at `")[0]
    if expected := re.match(r"Expected `(\w+)(?: \| null)?`, got", said):
        return f"must be {_KINDS.get(expected[1], expected[1])}"
    return said.replace("`", "")
