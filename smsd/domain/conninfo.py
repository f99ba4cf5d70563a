"""How a database is named, libpq's way: a URL or ``key=value`` pairs, and where its password sits.

Only read as text, to say whether it carries a password and to show it without one. Whether
such a database exists is the store's business.
"""

from __future__ import annotations

import re

STRUCK_OUT = "***"

_SCHEME = re.compile(r"postgres(ql)?://")
_PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|$)", re.DOTALL)
# A password with a raw @ or / is a mistake that libpq reads otherwise; here too much is struck
# out rather than too little.
_IN_AUTHORITY = re.compile(r"(?<=://)([^:/?@]*):(.+)@", re.DOTALL)
_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&]+", re.IGNORECASE)
_IN_PAIRS = re.compile(r"(?:ssl)?password", re.IGNORECASE)


def names_a_database(text: str) -> bool:
    """Whether libpq would understand this as the name of a database."""
    if _SCHEME.match(text):
        return True
    rest = _PAIR.sub("", text)
    return bool(text.strip()) and not rest.strip()


def without_password(text: str) -> str:
    """The same, each password in it replaced by stars."""
    if _SCHEME.match(text):
        text = _IN_AUTHORITY.sub(rf"\1:{STRUCK_OUT}@", text)
        return _IN_QUERY.sub(rf"\g<1>{STRUCK_OUT}", text)
    return _PAIR.sub(_struck_out, text)


def carries_password(text: str) -> bool:
    """Whether whoever reads this learns a password."""
    return without_password(text) != text


def _struck_out(pair: re.Match[str]) -> str:
    if not _IN_PAIRS.fullmatch(pair[1]) or not pair[2]:
        return pair[0]
    return pair[0].removesuffix(pair[2]) + STRUCK_OUT
