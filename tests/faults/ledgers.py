"""Fake phones that keep a ledger: asked again, they answer, and never send an SMS twice."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from faults.phones import Phone, Talk

#: A result that was not acknowledged is repeated so often. Seconds.
REPEATS = 2.0
#: Until the radio has its turn for a ticket it may be given back. Seconds at most.
TURN = 0.1


class LedgerPhone(Phone):
    """It writes ``ref`` down before it sends, and never sends one twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The result by ref; None: it is being sent.
        self._ledger: dict[str, dict[str, Any] | None] = {}
        #: Refs of tickets that wait for the radio, by ticket; and those that were given back.
        self._waiting: dict[int, str] = {}
        self._given_back: set[str] = set()
        #: Results that are to be repeated, by ticket, with the time of the last telling.
        self._unheard: dict[int, tuple[float, dict[str, Any]]] = {}

    @property
    def waits(self) -> bool:
        return super().waits or bool(self._unheard)

    @property
    def debts(self) -> str:
        return f"{super().debts}, {len(self._unheard)} results"

    def forget(self) -> None:
        """What no ledger phone may do: for showing that the campaign sees it."""
        self._ledger.clear()

    async def live(self) -> None:
        repeating = asyncio.create_task(self._insist())
        try:
            await super().live()
        finally:
            repeating.cancel()

    def _take(self, frame: dict[str, Any]) -> None:
        ref = frame["ref"]
        if ref not in self._ledger:
            self._ledger[ref] = None
            self._waiting[frame["id"]] = ref
            self._start(self._send(frame))
        elif ref in self._given_back:
            self._start(super()._tell(_cancelled(frame["id"], yes=True)))
        elif (result := self._ledger[ref]) is not None:
            self._start(self._tell(result))

    def _asked_back(self, ticket: int) -> dict[str, Any]:
        ref = self._waiting.pop(ticket, None)
        if ref is not None:
            self._given_back.add(ref)
        return _cancelled(ticket, yes=ref is not None)

    async def _send(self, frame: dict[str, Any]) -> None:
        await asyncio.sleep(self._chance.uniform(0, TURN))
        if self._waiting.pop(frame["id"], None) is None:
            return
        result = {**await self._transmit(frame), "ref": frame["ref"]}
        self._ledger[frame["ref"]] = result
        await self._tell(result)

    async def _transmit(self, frame: dict[str, Any]) -> dict[str, Any]:
        if frame.get("expires_at", math.inf) > time.time() * 1000:
            return await super()._transmit(frame)
        result = {"type": "send_result", "id": frame["id"], "success": False}
        return {**result, "error": "expired"}

    async def _tell(self, result: dict[str, Any]) -> None:
        self._unheard[result["id"]] = time.monotonic(), result
        await super()._tell(result)

    def _result_acknowledged(self, frame: dict[str, Any]) -> None:
        self._unheard.pop(frame["id"], None)

    async def _repeat(self, talk: Talk) -> None:
        for _, result in list(self._unheard.values()):
            await talk.say(result)
        await super()._repeat(talk)

    async def _insist(self) -> None:
        while True:
            await asyncio.sleep(REPEATS / 2)
            before = time.monotonic() - REPEATS
            for told, result in list(self._unheard.values()):
                if told < before:
                    await self._tell(result)


def _cancelled(ticket: int, *, yes: bool) -> dict[str, Any]:
    return {"type": "cancel_result", "id": ticket, "cancelled": yes}
