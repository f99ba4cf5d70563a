"""A program whose tickets have a time: not before, not after, some before others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from faults.agents import NOBODYS
from faults.regulars import Regular


class Planner(Regular):
    """Each call has one ticket for later, one that nobody can take in time, and one in a hurry."""

    way = "batch"

    async def turn(self) -> None:
        words = [self._journal.words() for _ in range(3)]
        drafts = [self._later(), {"ttl": 1, "sim": NOBODYS}, {"ttl": self._chance.randint(1, 3)}]
        messages = [
            {"to": "+15550100200", "body": each, "priority": self._chance.randint(-10, 10)} | draft
            for each, draft in zip(words, drafts, strict=True)
        ]
        sim = self._chance.choice(self._org.sims)
        answer = await self.send(f"/send/{self._org.id}", words, sim=sim, messages=messages)
        for each, result in zip(words, answer.get("results", ()), strict=False):
            self._journal.acknowledge(each, result["id"])

    def _later(self) -> dict[str, Any]:
        then = datetime.now(UTC) + timedelta(seconds=self._chance.uniform(0.2, 2))
        draft: dict[str, Any] = {"send_at": then.isoformat()}
        return draft | ({"ttl": 1} if self._chance.random() < 0.5 else {})
