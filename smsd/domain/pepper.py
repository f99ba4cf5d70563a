"""The key under which secrets are fingerprinted; it is never in the database.

A row whose fingerprint was made under the present pepper alone decides whether a secret is right,
in microseconds; a leaked database without the pepper is worth no more than its argon2id hashes.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pepper:
    """A key of at least 16 bytes."""

    key: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Which pepper this is, without giving it away."""
        return hmac.digest(self.key, b"smsd pepper id", hashlib.sha256).hex()[:16]

    def seal(self, org_id: str, secret: str) -> bytes:
        """The fingerprint of an org's secret: 32 bytes.

        Any text has one, also a secret of the wrong shape, which then is simply not right.
        """
        text = f"{org_id}\0{secret}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.key, text, hashlib.sha256)


def same(one: bytes, other: bytes | None) -> bool:
    """Whether two fingerprints are equal, in a time that does not tell where they differ."""
    return other is not None and hmac.compare_digest(one, other)
