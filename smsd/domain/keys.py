"""API keys: what a program may hold in place of its org's secret, and what each lets it do.

Values and rules only. A key's text is 256 bits of chance, so its plain SHA-256 is kept and nobody
guesses it; who makes and knows keys is `smsd.gateway`'s.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, get_args

from msgspec import Struct

from smsd.domain.allowance import Allowance
from smsd.domain.errors import MissingScope

#: What a key may be good for: to read messages and SIMs, to send, to manage webhooks, to be a
#: phone.
Scope = Literal["read", "send", "hooks", "phone"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

#: With this every key begins, so that a person or a scanner knows one when it lies about.
MARK = "smsd_"
#: Bytes of chance in one.
CHANCE = 32

_SHAPE = re.compile(MARK + r"[A-Za-z0-9_-]{43}")


class Key(Struct, frozen=True):
    """A key that is good: whose it is, and what it lets its holder do.

    ``segments_a_day``: None for as many as the org may send.
    """

    org_id: str
    id: str
    scopes: tuple[Scope, ...]
    to_prefixes: tuple[str, ...] = ()
    segments_a_day: int | None = None

    def require(self, scopes: tuple[Scope, ...] | None) -> None:
        """Raises `MissingScope` unless the key has all of these; None: no key is enough."""
        if scopes is None:
            raise MissingScope(
                "No API key may do this: it takes the SecretKey, as the header X-Secret-Key."
            )
        if lacking := [scope for scope in scopes if scope not in self.scopes]:
            raise MissingScope.of(lacking, self.scopes)

    @property
    def place(self) -> tuple[str, str]:
        """Which key of all orgs' it is."""
        return self.org_id, self.id

    @property
    def allowance(self) -> Allowance:
        """To whom it may send."""
        return Allowance(to_prefixes=self.to_prefixes)


def looks_like_key(text: str) -> bool:
    """Whether this was meant as a key, right or wrong."""
    return text.startswith(MARK)


def fingerprint(text: str) -> str | None:
    """By what a key is found, in hex; None where this can be none."""
    return hashlib.sha256(text.encode()).hexdigest() if _SHAPE.fullmatch(text) else None
