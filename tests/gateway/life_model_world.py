"""The model's world: one node of the real gateway at a time on a real Postgres, phones, agents.

What happens in it is the machine's choice (`life_model`); what must hold, `life_model_truth`'s.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from life_model_cast import HERE, THERE, handsets
from life_model_phones import Handset, Wire
from life_model_postgres import ENDLESS, Paced, Server
from life_model_truth import CONFIRM_TIMEOUT, MAX_ATTEMPTS, Truth
from life_model_witness import Witness
from nodes import Node
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smsd.domain.errors import Problem, ShuttingDown, Unavailable
from smsd.domain.records import Draft
from smsd.gateway.doorman import Caller
from smsd.gateway.resumption import Rules
from smsd.gateway.visit import Limits
from smsd.store import phones
from smsd.store.database import DEADLINE

GRACE, LIMITS = 3.0, Limits(window=2, unanswered=3)
#: Without a sign of life the gateway drops a phone after so many seconds.
SILENT = 45.0


class World:
    """``mode`` is the setting ``unconfirmed``."""

    def __init__(self, server: Server, witness: Witness, mode: str) -> None:
        self._server, self._witness = server, witness
        witness.begin([HERE, THERE])
        self.mode = mode
        self.step = 0
        self.truth = Truth(witness, self, mode, LIMITS)
        self.phones = handsets(self.truth)
        self.asked = 0
        self.graves: list[tuple[Node, Paced]] = []
        self._calm: list[int] = []
        self._start("node-1", 0.0)

    # -- the node ------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return float(self.node.clock.seconds())

    def _start(self, name: str, now: float) -> None:
        """A node begins as `smsd.graph.Parts.begin` does."""
        self.name, self.paced, clock = name, Paced(self._server), Clock()
        clock.rightNow = now
        self.node = node = Node(self.paced, clock, name=name, limits=LIMITS)
        # The settings of the model, which the tests' node has no words for.
        node.resumption._rules = Rules(GRACE, MAX_ATTEMPTS)
        node.upkeep.unconfirmed = self.mode  # type: ignore[assignment]
        node.upkeep.confirm_timeout = CONFIRM_TIMEOUT
        node.upkeep.max_attempts = MAX_ATTEMPTS
        self.wires: list[Wire] = []
        self.sends: list[Deferred[None]] = []
        self.stopping: Deferred[None] | None = None
        self._since: dict[tuple[Wire, str], int] = {}
        self._run(self._begin())

    async def _begin(self) -> None:
        await phones.leave(self.paced, self.name)  # type: ignore[arg-type]
        await self.node.upkeep.beat()
        self.node.upkeep.start()

    def _run(self, coroutine: Any) -> None:
        failures: list[Failure] = []
        begun = Deferred.fromCoroutine(coroutine).addErrback(failures.append)
        self.paced.turn()
        assert begun.called
        if failures:
            failures[0].raiseException()

    def crash(self, same_name: bool, happen: int) -> None:
        """The process is killed; of what Postgres was asked, the first statements happen."""
        self.paced.die(happen)
        self.truth.crashes(self.wires)
        self._bury()
        self._start(self.name if same_name else f"node-{self.step}", self.now)

    def shut_down(self) -> None:
        """The process is asked to end."""
        if self.stopping is None:
            self.stopping = Deferred.fromCoroutine(self._stop())
            self.paced.turn()

    async def _stop(self) -> None:
        """As `smsd.graph.Parts.end` does."""
        node = self.node
        node.feeding.close()
        node.attendance.close()
        until = node.clock.seconds() + 5
        while any(visit.awaits_results for visit in node.roster) and node.clock.seconds() < until:
            pause: Deferred[None] = Deferred()
            node.clock.callLater(0.05, pause.callback, None)
            await pause
        node.attendance.dismiss_all(ShuttingDown())
        node.patience.end()
        node.upkeep.stop()
        await node.spawn.idle()
        for lane in (node.inbox, node.outbox, node.results):
            await lane.drained()
        with suppress(Unavailable):
            await phones.leave(self.paced, self.name)  # type: ignore[arg-type]

    def start_again(self) -> None:
        """The next process, when the last one has come to its end in order."""
        if self.stopping is not None and self.stopping.called:
            self.stopping.addErrback(lambda failure: failure.raiseException())
            assert self.stopping.result is None, self.stopping.result
            self.paced.die(0)
            self._bury()
            self._start(self.name, self.now)

    def _bury(self) -> None:
        """What is left of a process does nothing more; its wires are cut."""
        self.graves.append((self.node, self.paced))
        for wire in self.wires:
            wire.over = True
            if wire.phone.wire is wire:
                wire.phone.wire = None

    def end(self) -> None:
        """Leave nothing that waits: who is collected while it waits is woken when it is gone."""
        self._bury()
        for node, paced in self.graves:
            node.feeding.close()
            node.upkeep.stop()
            node.patience.end()
            paced.dead = True
            paced.forget()
            for _ in range(5):
                node.clock.advance(60)
                paced.turn()

    # -- phones and agents ---------------------------------------------------------------------

    def come(self, phone: Handset, reports: bool) -> None:
        """The phone connects, whatever the gateway still thinks of an earlier connection."""
        wire = Wire(phone, self.node, self.truth, self.paced.turn, reports)
        self.wires.append(wire)
        wire.open()

    def drop(self, wire: Wire, noticed: bool) -> None:
        """The connection breaks; the gateway notices now or (half-open) later."""
        if wire.phone.wire is wire:
            wire.phone.wire = None
        wire.to_phone.clear()
        if noticed:
            self.notice(wire)

    def notice(self, wire: Wire) -> None:
        self.wires.remove(wire)
        wire.breaks()

    @property
    def ghosts(self) -> list[Wire]:
        """Connections that only the gateway holds for alive."""
        return [wire for wire in self.wires if wire.phone.wire is not wire]

    def send(self, org_id: str, wishes: list[str | int | None]) -> None:
        drafts = []
        for wish in wishes:
            self.asked += 1
            drafts.append(Draft(to="+15551234567", body=f"sms {self.asked}", sim=wish))
        self.sends.append(Deferred.fromCoroutine(self._send(org_id, drafts)))
        self.paced.turn()

    async def _send(self, org_id: str, drafts: list[Draft]) -> None:
        try:
            accepted = await self.node.outbox.accept(Caller(org_id), drafts)
        except Problem:
            return  # it was not acknowledged
        assert len(accepted.results) == len(drafts)
        for draft, ticket in zip(drafts, accepted.results, strict=True):
            self.truth.accepted(org_id, ticket.id, draft.body)

    def cancel(self, org_id: str, id_: int) -> None:
        """An agent wants a ticket back, whatever has become of it."""
        self.sends.append(Deferred.fromCoroutine(self._cancel(org_id, id_)))
        self.paced.turn()

    async def _cancel(self, org_id: str, id_: int) -> None:
        try:
            seen = await self.node.archive.cancel(Caller(org_id), id_)
        except Problem:
            return  # it goes on as before, or nobody knows
        assert seen is not None, "no such ticket"
        self.truth.told_as_cancelled(org_id, id_)

    def pass_time(self, seconds: float) -> None:
        """Time passes for everybody. Who was not heard for long is dropped."""
        if seconds > DEADLINE:
            self.paced.time_out()
        self.truth.look()
        self._witness.pass_time(seconds)
        if seconds >= SILENT:
            for wire in [one for one in self.wires if one.is_silent]:
                self.drop(wire, noticed=True)
        self.node.clock.advance(seconds)
        self.paced.turn()

    # -- what holds after every step -----------------------------------------------------------

    def judge(self) -> None:
        """What must hold whenever nothing moves."""
        asked = self.paced.calls
        assert asked.total() < ENDLESS, f"the node asks Postgres without end: {asked}"
        asked.clear()
        self.truth.look()
        self.note_servers()
        for sending in [one for one in self.sends if one.called]:
            self.sends.remove(sending)
            sending.addErrback(lambda failure: failure.raiseException())
            assert sending.result is None, sending.result
        live = [wire for wire in self.wires if wire.live]
        assert [visit.phone for visit in self.node.roster if visit.phone not in live] == []
        assert len(self.node.roster) == len(live), "a live session is not in the roster"
        if self.is_calm:
            self._calm.append(self.step)
            if self.stopping is None:  # a node that ends may leave it to its silence
                known = {visit.session_id for visit in self.node.roster}
                assert self._witness.sessions(self.name) == known, "the table of sessions"
        self.start_again()
        self.step += 1

    @property
    def is_calm(self) -> bool:
        """Whether nothing is under way in the node."""
        idle = Deferred.fromCoroutine(self.node.spawn.idle())
        return idle.called and not self.sends and not self.paced.stuck

    def was_calm(self, since: int, until: int) -> bool:
        """Whether nothing was under way at some time after one step and before another."""
        return any(since <= step < until for step in self._calm)

    def note_servers(self) -> None:
        """Who serves which queue, and since when; the roster must agree."""
        first: dict[tuple[str, str], Wire] = {}
        for wire in self.wires:
            for visit in self.node.roster.of(wire.phone.org_id):
                if visit.phone is wire and wire.live:
                    for key in visit.keys:
                        first.setdefault((wire.phone.org_id, key), wire)
        self._since = {
            (wire, key): self._since.get((wire, key), self.step) for (_, key), wire in first.items()
        }
        self.first = first
        for (org_id, key), wire in first.items():
            visit = self.node.roster.first(org_id, key)
            assert visit is not None, "the roster knows nobody who serves this"
            assert visit.phone is wire, "another phone was connected first"

    def serves_since(self, wire: Wire, key: str) -> int:
        return self._since.get((wire, key), self.step)

    def session_of(self, wire: Wire) -> str | None:
        visits = self.node.roster.of(wire.phone.org_id)
        return next((visit.session_id for visit in visits if visit.phone is wire), None)
