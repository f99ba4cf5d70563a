"""What SIGHUP asks for: the settings read once more, and those taken over that can be.

A setting is live if its row in the table says so; of the others that have changed only the names
are told. Who reads and who takes over are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace
from twisted.logger import Logger

from smsd.domain.precedence import Misconfigured
from smsd.domain.rows import Row
from smsd.domain.settings import TABLE, Settings

Take = Callable[[Settings], None]


class Reload:
    """Reads the settings again each time it is called; what it cannot use changes nothing."""

    _log = Logger()

    def __init__(self, settings: Settings, read: Callable[[], Settings], take: Take) -> None:
        """``take`` takes live settings over; it raises RuntimeError where it cannot, and then
        has changed nothing."""
        self._settings = settings
        self._read = read
        self._take = take

    def __call__(self) -> None:
        try:
            self._renew(self._read())
        except Misconfigured as wrong:
            self._refuse("; ".join(wrong.faults))
        except RuntimeError as error:
            self._refuse(str(error))
        except Exception:
            self._log.failure("the settings could not be read again")

    def _renew(self, read: Settings) -> None:
        changed = [row for row in TABLE.values() if self._differ(row, read)]
        live = [row for row in changed if row.told.live]
        news = {row.name: getattr(read, row.name) for row in live}
        self._take(settings := replace(self._settings, **news))
        self._settings = settings
        said = [f"{row.name} is now {row.shown(news[row.name])}" for row in live]
        self._log.info(
            "read the settings again: {what}", what=", ".join(said) or "nothing to take over"
        )
        self._tell_waiting([row.name for row in changed if not row.told.live])

    def _differ(self, row: Row, read: Settings) -> bool:
        return bool(getattr(self._settings, row.name) != getattr(read, row.name))

    def _tell_waiting(self, names: Sequence[str]) -> None:
        if names:
            self._log.warn(
                "a restart is needed for what else is new: {names}", names=", ".join(names)
            )

    def _refuse(self, why: str) -> None:
        self._log.error("the settings stay as they were: {why}", why=why)
