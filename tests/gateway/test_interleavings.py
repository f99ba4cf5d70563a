"""Many agents, phones and results at once, in every order that chance makes up."""

from __future__ import annotations

import random

import pytest
import pytest_twisted
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets
from twisted.internet.defer import Deferred, gatherResults

from smsd.domain.records import Sim
from smsd.gateway.visit import Limits

SIMS = [Sim(slot=0, number="+15550001"), Sim(slot=1, number="+15550002")]
WISHES = [None, None, None, 0, 1, "+15550001", "+15550002"]


class Bustle:
    """One phone that comes and goes while agents send; ``chance`` decides on everything."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self.node, self.chance = node, chance
        self.started: list[Deferred] = []
        self.phones: list[RecordingPhone] = []
        self.phone: RecordingPhone | None = None
        self.accepted = 0

    def start(self, coroutine) -> None:
        self.started.append(Deferred.fromCoroutine(coroutine))

    async def whatever(self, moves: list[str]) -> None:
        for _ in range(60):
            getattr(self, self.chance.choice(moves))()
            if self.chance.random() < 0.6:
                await self.a_moment()
        await self.the_end()

    async def a_moment(self) -> None:
        """The database answers a few things."""
        await sql(self.node.database, "SELECT 1")

    def send(self) -> None:
        self.start(self._send(self.chance.choices(WISHES, k=self.chance.choice([1, 1, 2, 9]))))

    def answer(self) -> None:
        for phone in self.phones:
            for id_ in list(phone.visit._open if phone.visit else ()):
                if id_ in phone.held and self.chance.random() < 0.5:
                    success = self.chance.random() < 0.9
                    self.start(self.node.result(phone.visit, id_, success))

    def receive(self) -> None:
        if self.phone is not None and hasattr(self.phone, "mark"):
            self.phone.visit.receipt(self.chance.randint(0, self.phone.mark))
            self.node.feeding.feed(self.phone.visit)

    def pause(self) -> None:
        if self.phone is not None:
            self.phone.writable = not self.phone.writable
            if self.phone.writable:
                self.phone.visit.write_held()
                self.node.feeding.feed(self.phone.visit)

    def tick(self) -> None:
        self.node.feeding.tick()
        self.start(self.node.feeding.poll())

    def come(self) -> None:
        if self.phone is None:
            phone = self.phone = RecordingPhone()
            self.phones.append(phone)
            self.start(self._come(phone))

    def leave(self) -> None:
        if self.phone is not None and self.phone.visit is not None:
            phone, self.phone = self.phone, None
            phone.visit.receipt(getattr(phone, "mark", 0))  # else it is given them again
            self.node.attendance.end(phone.visit, "a test")

    async def _send(self, wishes) -> None:
        accepted = await self.node.send(*wishes)
        self.accepted += len(accepted.results)

    async def _come(self, phone: RecordingPhone) -> None:
        await self.node.come(phone, *SIMS)

    async def the_end(self) -> None:
        """A phone is there, reads and answers everything."""
        await self.quiet()
        self.come()
        while any(await self.open_tickets()):
            await self.quiet()
            self.phone.writable = True
            self.phone.visit.write_held()
            self.phone.visit.receipt(getattr(self.phone, "mark", 0))
            for phone in self.phones:
                for id_ in phone.held:
                    if id_ in phone.visit._open:
                        self.start(self.node.result(self.phone.visit, id_))
            self.node.feeding.tick()
        await self.quiet()

    async def open_tickets(self) -> list[int]:
        found = await tickets(self.node.database)
        return [id_ for id_, status in found.items() if status in ("queued", "sending")]

    async def quiet(self) -> None:
        started, self.started = self.started, []
        await soon(gatherResults(started, consumeErrors=True))
        await self.node.settled()


ON_LINE = ["send", "send", "send", "answer", "answer", "receive", "tick"]


@pytest.mark.parametrize("seed", range(8))
@pytest_twisted.ensureDeferred
async def test_first_pushes_are_in_the_order_of_ids(database, clock, hashing, seed):
    """One phone that stays on line: whatever is sent and answered meanwhile."""
    await made_org(database)
    node = Node(database, clock, hashing=hashing, limits=Limits(3, 5))
    bustle = Bustle(node, random.Random(seed))
    bustle.come()
    await bustle.quiet()
    await bustle.whatever([*ON_LINE, "pause"])
    (phone,) = bustle.phones
    assert phone.pushed == list(range(1, bustle.accepted + 1))


@pytest.mark.parametrize("seed", range(100, 108))
@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_or_sent_twice_while_a_phone_comes_and_goes(
    database, clock, hashing, seed
):
    await made_org(database)
    node = Node(database, clock, hashing=hashing, limits=Limits(3, 5))
    bustle = Bustle(node, random.Random(seed))
    await bustle.whatever([*ON_LINE, "come", "come", "leave"])
    pushed = [id_ for phone in bustle.phones for id_ in phone.pushed]
    assert sorted(pushed) == list(range(1, bustle.accepted + 1))
    found = await tickets(database, ORG)
    assert len(found) == bustle.accepted
    assert set(found.values()) <= {"sent", "failed"}
    assert node.roster.of(ORG)[0].places == 3
