"""The part of a phone that sends an SMS into the air, here only pretended.

A real phone has Android's SmsManager or a modem behind the same `Radio`; all else in this package
would stay as it is.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


class NotSent(Exception):
    """The network did not take the SMS; the text says why, for people."""


class Radio(Protocol):
    """What the phone asks of a radio."""

    async def send(self, to: str, body: str, sim: str | None) -> None:
        """Returns when the network has taken the SMS; raises `NotSent` where it has not.

        Cancelled, it raises `CancelledError` where the SMS is not sent and never will be, and goes
        on where it is too late for that.
        """


class PretendedRadio:
    """Sends nothing. Takes ``delay`` seconds over it; every ``fail_every``-th fails (0: none)."""

    def __init__(self, clock: IReactorTime, *, delay: float = 0, fail_every: int = 0) -> None:
        self._clock = clock
        self._delay = delay
        self._fail_every = fail_every
        self._asked = 0

    async def send(self, to: str, body: str, sim: str | None) -> None:
        self._asked += 1
        fails = self._fail_every > 0 and self._asked % self._fail_every == 0
        await deferLater(self._clock, self._delay)
        if fails:
            raise NotSent(f"pretended failure: every {self._fail_every}. SMS fails on this phone")
