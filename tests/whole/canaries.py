"""What must never be in a log: every secret, text and number that a test here ever uses.

Tests take them from the one `canaries`, so that none can be forgotten when logs are searched.
"""

from __future__ import annotations

import secrets
from itertools import count


class Canaries:
    """Makes values that occur nowhere else, and remembers each of them."""

    def __init__(self) -> None:
        self._sung: set[str] = set()
        self._numbers = count(secrets.randbelow(5_000_000) + 1_000_000)

    def note(self, value: str) -> str:
        """This value too must be in no log."""
        self._sung.add(value)
        return value

    def secret(self, odd: str = "") -> str:
        """A SecretKey with these odd characters in its middle."""
        return self.note(f"hush{secrets.token_hex(6)}{odd}{secrets.token_hex(3)}")

    def text(self) -> str:
        """What an SMS says."""
        return self.note(f"whisper {secrets.token_hex(8)}")

    def number(self) -> str:
        """A telephone number; what is searched for are its digits."""
        return "+" + self.note(f"1555{next(self._numbers):07}")

    def found_in(self, log: str) -> list[str]:
        """Those that somebody has written down."""
        return sorted(value for value in self._sung if value in log)


canaries = Canaries()
