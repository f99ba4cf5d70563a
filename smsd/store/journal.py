"""What Postgres' programs say, passed on to our own log.

While a server starts, all of it: nobody has spoken to it yet. From then on only lines that are
a message of its own; what follows one (a statement is told that way when a server panics) may be
somebody's SMS.
"""

from __future__ import annotations

from collections import deque

from twisted.logger import Logger, LogLevel

from smsd.store.cluster import READY

_LEVELS = {
    "LOG": LogLevel.debug,
    "WARNING": LogLevel.warn,
    "FATAL": LogLevel.warn,
    "PANIC": LogLevel.critical,
}
#: Said to every connection that is there, or comes, when the server is told to stop. Nobody has to
#: know: where it was not us who told it, whoever held the connection says what is lost.
_TOLD_TO_GO = (
    "terminating connection due to administrator command",
    "the database system is shutting down",
)
_REMEMBERED = 12


class Journal:
    """Hears one program at a time, and remembers its last words for an error message."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._last: deque[str] = deque(maxlen=_REMEMBERED)
        self._starting = True

    def begin(self) -> None:
        """Another program starts."""
        self._last.clear()
        self._starting = True

    def hear(self, line: str) -> None:
        """One line of its stderr."""
        severity, colon, _ = line.partition(":  ")
        known = bool(colon) and severity in _LEVELS
        if not line.strip() or not (known or self._starting):
            return
        self._last.append(line.strip())
        quiet = not known or line.strip().endswith(_TOLD_TO_GO)
        level = LogLevel.debug if quiet else _LEVELS[severity]
        self._log.emit(level, "Postgres: {line}", line=line.strip())
        if READY in line:
            self._starting = False

    def last_words(self) -> str:
        """Why it did not go on: what it complained of, else all that it said last."""
        complaints = [line for line in self._last if not line.startswith("LOG:")]
        return " / ".join(complaints or self._last) or "it said nothing"
