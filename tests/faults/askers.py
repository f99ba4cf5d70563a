"""A program that asks people by ``POST /ask``, and is answered by them or not in time."""

from __future__ import annotations

from faults.orgs import ANSWERED, ASKED, party
from faults.regulars import Regular

#: So long it waits for an answer. Seconds.
WAITS = 3


class Asker(Regular):
    """Each question goes to a number of its own, so that nobody else's answer is there."""

    way = "ask"

    async def turn(self) -> None:
        words = self._journal.words(ASKED)
        sim = self._chance.choice(self._org.sims)
        answer = await self.send(
            f"/ask/{self._org.id}", [words], to=party(words), body=words, sim=sim, wait=WAITS
        )
        if not answer:
            return
        self._journal.acknowledge(words, answer["ticket"]["id"])
        if answer["reply"] is not None:
            self._journal.replied(right=answer["reply"]["body"] == words + ANSWERED)

    def too_early(self, status: int) -> bool:
        """The first call waits still, at a gateway that does not know yet that its line broke."""
        return status == 409
