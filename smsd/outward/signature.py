"""Signing a post as Standard Webhooks say (github.com/standard-webhooks, version 1, symmetric).

A secret is ``whsec_`` and the base64 of 24 to 64 random bytes. What is signed is the event's id,
the time of the attempt and the body, so that neither can be taken for another.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence

PREFIX = "whsec_"
#: Bytes of a new secret, and what a secret may have.
NEW, LEAST, MOST = 32, 24, 64


def new_secret(chance: Callable[[int], bytes]) -> str:
    """A secret of 32 bytes; ``chance`` gives so many random bytes (`secrets.token_bytes`)."""
    return PREFIX + b64encode(chance(NEW)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that a ``whsec_`` secret stands for; raises ValueError where it is none."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not LEAST <= len(key) <= MOST:
        raise ValueError(f"must be {PREFIX} and the base64 of {LEAST} to {MOST} bytes")
    return key


def signed(event_id: str, at: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of one attempt.

    ``event_id`` is the same for every attempt at an event and has no dot; ``at`` is Unix seconds
    of this attempt; ``secrets`` are all that are valid now, the newest first.
    """
    covered = b"%s.%d.%s" % (event_id.encode(), at, body)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(_signature(key_of(secret), covered) for secret in secrets),
    }


def _signature(key: bytes, covered: bytes) -> str:
    return "v1," + b64encode(hmac.digest(key, covered, "sha256")).decode()
