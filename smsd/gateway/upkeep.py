"""Chores on timers: the heartbeat, dead nodes, closed orgs, late tickets, what is out of date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from smsd.domain.errors import Unauthorised, Unavailable
from smsd.gateway.allowances import Allowances
from smsd.gateway.attendance import Attendance
from smsd.gateway.bell import Bell
from smsd.gateway.confirmations import Confirmations
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Doorman
from smsd.gateway.feeding import Feeding
from smsd.gateway.keys import Keys
from smsd.gateway.postman import Postman
from smsd.gateway.quotas import Quotas
from smsd.gateway.resumption import UNDELIVERABLE
from smsd.gateway.roster import Roster
from smsd.gateway.schedule import Schedule
from smsd.gateway.spawn import Spawn
from smsd.gateway.streams import Streams
from smsd.store import (
    batches,
    call_keys,
    erasure,
    events,
    limits,
    messages,
    orgs,
    phones,
    posts,
    remedies,
    resumption,
)
from smsd.store.database import Database
from smsd.store.trouble import Unanswered

UNCONFIRMED = "The phone took it but never confirmed; it may have been sent."


@dataclass
class Upkeep:
    """All that is done again and again. Intervals in seconds."""

    reactor: Any
    database: Database
    doorman: Doorman
    roster: Roster
    dispatch: Dispatch
    feeding: Feeding
    attendance: Attendance
    keys: Keys
    spawn: Spawn
    node_id: str
    confirm_timeout: float
    unconfirmed: Literal["fail", "resend"]
    max_attempts: int
    allowances: Allowances
    quotas: Quotas
    bell: Bell
    schedule: Schedule
    streams: Streams
    postman: Postman
    confirmations: Confirmations
    #: Days.
    keep_events: int
    #: Days; 0: for ever.
    keep_messages: int = 0
    #: Days.
    keep_keys: int = 7
    #: What became of tickets that no phone answered in time.
    given_up: Counter[str] = field(default_factory=Counter)
    _loops: list[LoopingCall] = field(default_factory=list)
    #: The answer to a beat was lost, which may have said so: other nodes forgot this one's phones.
    _forgotten: bool = False
    _log = Logger()

    def start(self) -> None:
        """Begin; the node must be known to the others before its first phone comes."""
        self._every(1, "tick", self._tick)
        self._every(1, "tickets at their time", self.schedule.turn)
        self._every(1, "keys that have ended", self.keys.dismiss_ended)
        self._every(1, "listening for other nodes", self.bell.look)
        self._every(1, "signs of life", self.streams.beat)
        self._every(1, "streams that have ended", self.streams.dismiss)
        self._every(1, "posting to hooks", self.postman.turn)
        self.spawn("finding orgs with hooks", self.postman.renew())
        self._every(5, "heartbeat", self.beat)
        self._every(5, "poll", self.feeding.poll)
        self._every(5, "late tickets", self._end_late)
        self._every(5, "closed orgs", self.dismiss_closed)
        self._every(5, "limits", self.look_at_limits)
        self._every(5, "tickets that waited too long", self.expire)
        self._every(15, "answers to opt-outs", self.confirmations.sweep)
        self._every(60, "pruning", self._prune)
        self._every(600, "listening on", self.streams.renew)
        self._every(600, "listening on for hooks", self.postman.renew)
        self._every(600, "deleting old events", self.delete_old_events)
        self._every(3600, "deleting old messages", self.delete_old)

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._loops.clear()

    async def beat(self) -> None:
        """Say that this node is alive, and bury those that are not."""
        try:
            born = await phones.beat(self.database, self.node_id)
        except Unanswered:
            self._forgotten = True
            raise
        if born or self._forgotten:
            self._forgotten = False
            self.attendance.tell_again()
        for node_id in await phones.sweep_nodes_everywhere(self.database):
            self._log.warn("node {node} is dead; its sessions are swept", node=node_id)
            self.attendance.resume_all()

    async def dismiss_closed(self) -> None:
        """The operator has closed or deleted an org: its phones go, and are not let in again."""
        for org_id in await remedies.closed_orgs(self.database, self.roster.org_ids()):
            self._log.info("org {org} was closed or deleted; its phones must go", org=org_id)
            for visit in self.roster.of(org_id):
                visit.phone.close(Unauthorised("This org was closed by the gateway's operator."))
                self.attendance.end(visit, "its org is closed")

    async def delete_old(self) -> None:
        """Messages are kept for so many days (setting ``keep_messages``)."""
        if not self.keep_messages:
            return
        if deleted := await erasure.prune(self.database, self.keep_messages):
            self._log.info("deleted {number} old messages", number=deleted)

    async def delete_old_events(self) -> None:
        """Events are kept for so many days (setting ``keep_events``), but no longer than the
        messages that they show."""
        days = min(self.keep_events, self.keep_messages or self.keep_events)
        await events.prune_everywhere(self.database, days * 86_400)
        await posts.prune_everywhere(self.database)

    async def look_at_limits(self) -> None:
        """What the operator allows the orgs whose phones are on line, which nobody recognises
        again."""
        await self.allowances.look(self.database, self.roster.org_ids())

    async def expire(self) -> None:
        """Tickets wait for so long only (setting ``queue_ttl``, or their org's own)."""
        ttl = self.allowances.default.queue_ttl
        async for ended in limits.expire_everywhere(self.database, ttl):
            self.bell.ring(*{org_id for org_id, _ in ended})
            for org_id, id_ in ended:
                self._log.info(
                    "ticket {org}/{ticket} failed: {error}", org=org_id, ticket=id_, error="expired"
                )

    async def _tick(self) -> None:
        self.feeding.tick()
        self.attendance.tick()

    async def _end_late(self) -> None:
        """Tickets that no phone answered in time (setting ``unconfirmed``)."""
        if self.unconfirmed == "fail":
            late = [
                (org_id, id_, "failed")
                for org_id, id_ in await messages.fail_unconfirmed_everywhere(
                    self.database, timeout=self.confirm_timeout, detail=UNCONFIRMED
                )
            ]
        else:
            await self.dispatch.note_receipts()
            late = await resumption.requeue_unconfirmed_everywhere(
                self.database,
                timeout=self.confirm_timeout,
                max_attempts=self.max_attempts,
                detail=UNDELIVERABLE,
            )
        for org_id, id_, status in late:
            self.given_up[status] += 1
            self._tell_of(org_id, id_, status)
        self.dispatch.given_up((org_id, id_) for org_id, id_, _ in late)

    def _tell_of(self, org_id: str, ticket_id: int, status: str) -> None:
        if status == "queued":
            self._log.info(
                "ticket {org}/{ticket} was never confirmed; it is sent again",
                org=org_id,
                ticket=ticket_id,
            )
            return
        self._log.info(
            "ticket {org}/{ticket} failed: {error}",
            org=org_id,
            ticket=ticket_id,
            error="unconfirmed" if self.unconfirmed == "fail" else "undeliverable",
        )

    async def _prune(self) -> None:
        self.doorman.prune()
        self.roster.prune()
        self.quotas.prune()
        await orgs.prune_everywhere(self.database)
        await batches.prune_everywhere(self.database)
        await call_keys.prune_everywhere(self.database, self.keep_keys)

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
