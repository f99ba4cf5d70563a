"""Phones come and go: what the roster, the tables and dispatch must each learn of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from smsd.domain.errors import Problem, Replaced, ShuttingDown, Unauthorised
from smsd.domain.records import Sim
from smsd.domain.tallies import PushTally
from smsd.gateway.arrivals import Arrivals
from smsd.gateway.bell import Bell
from smsd.gateway.dispatch import Dispatch
from smsd.gateway.doorman import Caller
from smsd.gateway.feeding import Feeding
from smsd.gateway.patience import Patience
from smsd.gateway.roster import Roster
from smsd.gateway.spawn import Spawn
from smsd.gateway.visit import Identity, Limits, Phone, Visit
from smsd.store import phones
from smsd.store.batch import Batch
from smsd.store.database import Database
from smsd.store.phones import SessionRow
from smsd.store.trouble import DataRefused

#: Phones that one statement tells of at most: all of them are answered in one turn of the reactor,
#: and when ten thousand return at once nobody else must wait for that.
ROWS = 200


class Attendance:
    """Begins and ends visits. ``new_id`` makes a UUID for each; ``clock`` never jumps, the time
    of day does."""

    def __init__(
        self,
        database: Database,
        roster: Roster,
        dispatch: Dispatch,
        feeding: Feeding,
        spawn: Spawn,
        patience: Patience,
        bell: Bell,
        *,
        node_id: str,
        clock: Callable[[], float],
        time_of_day: Callable[[], float] | None = None,
        new_id: Callable[[], str],
        limits: Limits,
    ) -> None:
        self._database = database
        self._roster = roster
        self._dispatch = dispatch
        self._feeding = feeding
        self._spawn = spawn
        self._patience = patience
        self._bell = bell
        self._node_id = node_id
        self._clock = clock
        self._time_of_day = time_of_day
        self._new_id = new_id
        self._limits = limits
        self._closing = False
        self._arrivals = Arrivals(clock)
        self._beginning: Batch[SessionRow, None] = Batch("sessions", self._write_begun, rows=ROWS)
        self._reporting: Batch[SessionRow, None] = Batch("sims", self._write_reported, rows=ROWS)
        self._ending: Batch[SessionRow, None] = Batch("ends", self._write_ended, rows=ROWS)
        self.lanes = (self._beginning, self._reporting, self._ending)
        self.pushes = PushTally()

    async def begin(self, caller: Caller, identity: Identity, phone: Phone) -> Visit:
        """The phone is on line from now on; an older session of the same device is closed.

        Raises `Flapping`, `ShuttingDown` or `Unavailable`, and `Unauthorised` where the org was
        deleted since the phone was recognised.
        """
        if self._closing:
            raise ShuttingDown(retry_after=1)
        visit = Visit(
            caller.org_id,
            self._new_id(),
            identity,
            phone,
            self._limits,
            clock=self._clock,
            time_of_day=self._time_of_day,
            held_key=caller.key.place if caller.key else None,
            tally=self.pushes,
        )
        try:
            await self._tell(self._beginning, visit)
            if self._closing:
                raise ShuttingDown(retry_after=1)
            self._replace(self._roster.arrive(visit))
        except Problem:  # of a lost answer too: the row may be there
            self._spawn("forgetting a session", self._forget(visit))
            raise
        self._arrivals.came(visit)
        return visit

    async def report(self, visit: Visit, sims: Sequence[Sim]) -> int:
        """The phone holds these SIMs now; how many, after the commit.

        Raises `Flapping` or `Unavailable`; `Unauthorised` where the org was deleted.
        """
        if visit.on_line:
            replaced, heirs = self._roster.report(visit, tuple(sims))
            self._dispatch.reported(visit)
            for older in replaced:
                self._replace(older)
            self._feeding.expect({visit, *heirs})
            await self._patience.insist(partial(self._tell, self._reporting, visit))
            self._feeding.wake({visit, *heirs})
            self._resume(visit)
            self._arrivals.told(visit)
        return len(sims)

    def serve(self, visit: Visit) -> None:
        """The phone has been greeted: give it what waits for it."""
        self._feeding.wake({visit})
        self._resume(visit)

    def end(self, visit: Visit, why: str) -> None:
        """The phone is gone. Harmless for a visit that has ended or was replaced."""
        if visit.on_line:
            self._arrivals.went(visit, why)
            heirs = self._roster.leave(visit)
            self._spawn("ending a visit", self._put_down(visit, heirs))

    def tell_again(self) -> None:
        """Other nodes held this one for dead and forgot its phones: tell of them again."""
        for visit in self._roster:
            self._spawn("telling of a phone again", self._tell_again(visit))

    def tick(self) -> None:
        """To be called every second."""
        self._arrivals.tick()

    def close(self) -> None:
        """Nobody comes in any more: the gateway is shutting down."""
        self._closing = True

    def dismiss_all(self, problem: Problem) -> None:
        """Close every session."""
        for visit in self._roster:
            visit.phone.close(problem)
            self.end(visit, problem.slug)

    def _replace(self, older: Visit | None) -> None:
        if older is not None:
            older.phone.close(Replaced())
            self.end(older, "replaced by a newer session")

    def resume_all(self) -> None:
        """Sessions of other nodes are over: their phones may be back, and here."""
        for visit in self._roster:
            self._resume(visit)

    def _resume(self, visit: Visit) -> None:
        self._spawn("resuming", self._dispatch.resume(visit))

    async def _put_down(self, visit: Visit, heirs: set[Visit]) -> None:
        left_open = bool(visit.unsettled())
        await self._dispatch.gone(visit, heirs)
        await self._forget(visit)
        for other in self._roster.of(visit.org_id) if left_open else ():
            if other.is_same_phone(visit):  # it was back before its last session was over
                self._resume(other)

    async def _tell(self, lane: Batch[SessionRow, None], visit: Visit) -> None:
        """Raises `Unauthorised` where the org was deleted: for nothing else is a row refused."""
        try:
            await lane.put(visit.row(), org_id=visit.org_id)
        except DataRefused:
            raise Unauthorised() from None

    async def _tell_again(self, visit: Visit) -> None:
        for lane in (self._beginning, self._reporting):
            if visit.on_line and (visit.sims or lane is self._beginning):
                await self._patience.insist(partial(self._tell, lane, visit))
        if not visit.on_line:  # it left meanwhile, perhaps before its row was there
            await self._forget(visit)

    async def _forget(self, visit: Visit) -> None:
        row = SessionRow(visit.org_id, visit.session_id)
        await self._patience.insist(lambda: self._ending.put(row, org_id=visit.org_id))

    async def _write_begun(self, rows: Sequence[SessionRow]) -> list[None]:
        await phones.begin(self._database, self._node_id, rows)
        return self._told(rows)

    async def _write_reported(self, rows: Sequence[SessionRow]) -> list[None]:
        latest = {row.session_id: row for row in rows}
        await phones.report(self._database, list(latest.values()))
        return self._told(rows)

    async def _write_ended(self, rows: Sequence[SessionRow]) -> list[None]:
        await phones.end(self._database, rows)
        return self._told(rows)

    def _told(self, rows: Sequence[SessionRow]) -> list[None]:
        self._bell.ring(*{row.org_id for row in rows})
        return [None] * len(rows)
