"""A person who says STOP, and START some time later, to an org that keeps to it."""

from __future__ import annotations

from faults.orgs import SECRET
from faults.regulars import Regular

NUMBER = "+15550600700"


class Subscriber(Regular):
    """What is sent to it between the two must never reach a phone."""

    async def prepare(self) -> None:
        status, answer = await self._line.put(f"/optouts/{self._org.id}", SECRET, {"enabled": True})
        assert status == 200, answer

    async def turn(self) -> None:
        await self._says("STOP")
        await self._is_sent(barred=True)
        await self._says("START")
        await self._is_sent(barred=False)

    async def _says(self, word: str) -> None:
        id_ = self._journal.words()
        sms = {"address": NUMBER, "body": word, "date": 1_700_000_000_000, "id": id_}
        await self.insist("/webhook", org_id=self._org.id, messages=[sms])

    async def _is_sent(self, *, barred: bool) -> None:
        words = self._journal.words()
        if barred:
            self._journal.bar(self._org.id, words)
        sim = self._chance.choice(self._org.sims)
        answer = await self.send(f"/send/{self._org.id}", [words], to=NUMBER, body=words, sim=sim)
        for result in answer.get("results", ()):
            self._journal.acknowledge(words, result["id"])
            if barred and result["status"] != "failed":
                self._journal.complain("a ticket accepted after a STOP")
