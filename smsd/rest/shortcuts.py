"""From a path as the documents write it to what answers it, at the cost of one dictionary look-up.

To be routed by werkzeug takes 98 us, and all the rest that the REST face does for a webhook 82 (by
callgrind 310,000 instructions and 194,000).

Only for ``/noun`` with nothing but parameters behind it. Every other spelling (a trailing slash,
HEAD, an unknown path) is left to the router that knows all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Shortcuts(Generic[T]):
    """What answers a method and a path, by the path's first piece and its number of pieces."""

    def __init__(self) -> None:
        self._found: dict[tuple[bytes, bytes, int], tuple[T, tuple[str, ...]]] = {}

    def add(self, method: str, path: str, answers: T) -> None:
        """``path`` as in ``/messages/<org_id>``; one with another shape is passed over."""
        noun, *behind = path[1:].split("/")
        if noun and all(piece[0] == "<" and piece[-1] == ">" for piece in behind):
            names = tuple(piece[1:-1] for piece in behind)
            self._found[method.encode(), noun.encode(), len(names)] = (answers, names)

    def find(self, method: bytes, pieces: Sequence[bytes]) -> tuple[T, Mapping[str, str]] | None:
        """What answers these pieces of a path, still encoded, and the parameters in them."""
        found = self._found.get((method, pieces[0], len(pieces) - 1)) if pieces else None
        if found is None:
            return None
        answers, names = found
        if not names:
            return answers, {}
        if not all(pieces):
            return None
        return answers, dict(zip(names, (p.decode("latin-1") for p in pieces[1:]), strict=True))
