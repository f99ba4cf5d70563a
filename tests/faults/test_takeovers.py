"""One device that comes back a thousand times while its older sockets die late, or never."""

from __future__ import annotations

import gc
import random
import weakref

import pytest_twisted
from twisted.internet.task import Clock

from smsd.gateway.doorman import Caller
from smsd.gateway.roster import MINUTE, TAKEOVERS
from smsd.gateway.visit import Identity
from smsd.store.database import Database
from tests.gateway.nodes import ORG, Node, RecordingPhone, made_org, soon, sql, tickets, together

ROUNDS = 1000 // TAKEOVERS


class Device:
    """Has any number of sockets, of which the newest counts."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chance = random.Random(6)
        self.sockets: list[RecordingPhone] = []
        self.visits: weakref.WeakSet[object] = weakref.WeakSet()

    async def come(self) -> None:
        """It is greeted, and what follows from that may follow whenever it likes."""
        phone = RecordingPhone()
        identity = Identity("handy", keeps_ledger=True)
        phone.visit = await soon(self._node.attendance.begin(Caller(ORG), identity, phone))
        self._node.attendance.serve(phone.visit)
        self.sockets.append(phone)
        self.visits.add(phone.visit)

    def bury(self) -> None:
        """Some of its older sockets are dead at last, in any order."""
        while len(self.sockets) > 1 and self._chance.random() < 0.8:
            died = self.sockets.pop(self._chance.randrange(len(self.sockets) - 1))
            assert died.closed == ["replaced"]
            self._node.attendance.end(died.visit, "its socket is dead at last")


@pytest_twisted.ensureDeferred
async def test_of_a_thousand_sessions_of_one_device_one_is_left_and_nothing_else(
    database: Database, clock: Clock
) -> None:
    await made_org(database)
    node = Node(database, clock)
    device = Device(node)
    for _ in range(ROUNDS):
        came = await together(*[device.come() for _ in range(TAKEOVERS)])
        assert came == [None] * TAKEOVERS
        device.bury()
        assert [visit.phone for visit in node.roster.of(ORG)] == device.sockets[-1:]
        clock.advance(MINUTE + 1)
    await node.settled()
    (last,) = device.sockets[-1:]
    assert last.closed == []
    assert await sql(database, "SELECT session_id::text FROM sessions") == [
        (last.visit.session_id,)
    ]
    await it_gets_everything(node, last, database)
    await node.leave(last)
    del last
    assert await sql(database, "SELECT FROM sessions") == []
    assert list(node.roster) == []
    device.sockets.clear()
    gc.collect()
    assert list(device.visits) == []


async def it_gets_everything(node: Node, phone: RecordingPhone, database: Database) -> None:
    await node.send(None, None, None)
    await node.settled()
    assert phone.pushed == [1, 2, 3]
    for id_ in phone.pushed:
        assert await node.result(phone.visit, id_) == "settled"
    assert set((await tickets(database)).values()) == {"sent"}
