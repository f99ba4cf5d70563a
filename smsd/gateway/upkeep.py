"""Chores on timers: the heartbeat, dead nodes, late tickets, places given up, old failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from smsd.domain.errors import Unavailable
from smsd.gateway.attendance import Attendance
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Doorman
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.store import messages, orgs, phones
from smsd.store.database import Database

UNCONFIRMED = "The phone took it but never confirmed; it may have been sent."


@dataclass
class Upkeep:
    """All that is done again and again. Intervals in seconds."""

    reactor: Any
    database: Database
    doorman: Doorman
    roster: Roster
    dispatch: Dispatch
    attendance: Attendance
    spawn: Spawn
    node_id: str
    confirm_timeout: float
    _loops: list[LoopingCall] = field(default_factory=list)
    _log = Logger()

    def start(self) -> None:
        """Begin; the node must be known to the others before its first phone comes."""
        self._every(1, "tick", self._tick)
        self._every(5, "heartbeat", self.beat)
        self._every(5, "poll", self.dispatch.poll)
        self._every(5, "late tickets", self._fail_late)
        self._every(60, "pruning", self._prune)

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._loops.clear()

    async def beat(self) -> None:
        """Say that this node is alive, and bury those that are not."""
        if await phones.beat(self.database, self.node_id):
            await self.attendance.tell_again()
        for node_id in await phones.sweep_nodes_everywhere(self.database):
            self._log.warn("node {node} is dead; its sessions are swept", node=node_id)

    async def _tick(self) -> None:
        self.dispatch.tick()

    async def _fail_late(self) -> None:
        for org_id, id_ in await messages.fail_unconfirmed_everywhere(
            self.database, timeout=self.confirm_timeout, detail=UNCONFIRMED
        ):
            self._log.info("ticket {org}/{id} was never confirmed", org=org_id, id=id_)
            for visit in self.roster.of(org_id):
                visit.settled(id_)

    async def _prune(self) -> None:
        self.doorman.prune()
        self.roster.prune()
        await orgs.prune_everywhere(self.database)

    def _every(self, seconds: float, what: str, chore: Callable[[], Awaitable[None]]) -> None:
        async def once() -> None:
            try:
                await chore()
            except Unavailable:
                pass  # it is done again soon, and the pool has told of the trouble
            except Exception:
                self._log.failure("{what} failed", what=what)

        loop = LoopingCall(lambda: self.spawn(what, once()))
        loop.clock = self.reactor
        self._loops.append(loop)
        loop.start(seconds, now=False)
