"""What the log says of the database's condition: enough to act on, and never a flood.

Away is told once, and so is back. What a database that can be reached does not do all the same is
told once a minute, by its SQLSTATE and in our words: Postgres' own may quote a value.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from smsd.store.trouble import Refused

#: Seconds in which the same complaint is not repeated.
QUIET = 60.0
#: For so long a pool may be short of some connections before that is told: most often the others
#: are about to go as well.
SHORT = 3.0

_WORDS = {
    "25006": "it is read-only",
    "53100": "its disk is full",
    "53200": "it is out of memory",
    "53300": "it has no connection left",
    "58030": "it cannot read or write its files",
}


class Condition:
    """``clock`` gives seconds."""

    _log = Logger()

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._away = False
        self._short_since: float | None = None
        self._told: dict[str, float] = {}

    def connected(self) -> None:
        """There is one more connection."""
        self._short_since = None
        if self._away:
            self._away = False
            self._log.info("the database is back")

    def cannot_connect(self, why: str, left: int) -> None:
        """A connection was refused; ``left`` are those that there are all the same."""
        if not left:
            self._is_away(f"connecting again until it is back ({why})")
        elif self._is_short() and self._is_news("short"):
            self._log.warn("no further connection to the database ({why})", why=why)

    def silent(self) -> None:
        """A statement was not answered in time."""
        if self._is_news("silent"):
            self._is_away("it does not answer in time")

    def refused(self, refusal: Refused) -> None:
        """It was reached and cannot do what it is for."""
        if self._is_news(refusal.state):
            why = _WORDS.get(refusal.state, "see its own log")
            self._log.error(
                "the database refuses: {why} (SQLSTATE {state})", why=why, state=refusal.state
            )

    def _is_away(self, more: str) -> None:
        if not self._away:
            self._away = True
            self._log.error("the database is away; {more}", more=more)

    def _is_short(self) -> bool:
        if self._short_since is None:
            self._short_since = self._clock()
        return not self._away and self._clock() >= self._short_since + SHORT

    def _is_news(self, complaint: str) -> bool:
        now = self._clock()
        news = now >= self._told.get(complaint, now)
        if news:
            self._told[complaint] = now + QUIET
        return news
