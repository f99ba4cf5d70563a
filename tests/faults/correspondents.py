"""A program that wants to know of each of its SMS whether it arrived."""

from __future__ import annotations

from faults.regulars import Regular


class Correspondent(Regular):
    """What it sends has a receipt; of most, phones report some time later that it arrived."""

    way = "batch"

    async def turn(self) -> None:
        words = [self._journal.words() for _ in range(2)]
        messages = [{"to": "+15550700800", "body": each, "receipt": True} for each in words]
        sim = self._chance.choice(self._org.sims)
        answer = await self.send(f"/send/{self._org.id}", words, sim=sim, messages=messages)
        for each, result in zip(words, answer.get("results", ()), strict=False):
            self._journal.acknowledge(each, result["id"])
