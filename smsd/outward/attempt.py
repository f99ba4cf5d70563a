"""What came of posting once: a value, the same for every way in which it may end."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: Why there was no answer, as a stable word: the URL itself is refused (`RefusedUrl`); an address
#: of its name is not allowed; the name has no address; nobody accepts the connection; the
#: certificate or the handshake is no good; what came was no HTTP, or nothing; it took too long.
Error = Literal[
    "refused_url",
    "refused_address",
    "unknown_name",
    "unreachable",
    "tls_failed",
    "bad_answer",
    "time_out",
]


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt: either the answer's ``status`` or an ``error``, never both."""

    status: int | None = None
    error: Error | None = None
    #: Milliseconds from the look-up of the name to the end of the answer.
    ms: int
    #: The first KiB of the answer's body, as text that any JSON and any database can hold.
    answer: str = ""
    #: Seconds that the endpoint asked to be left alone for (429 and 503), at most a day.
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the endpoint has it: 2xx, and nothing else."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants nothing more, ever: 410."""
        return self.status == 410
