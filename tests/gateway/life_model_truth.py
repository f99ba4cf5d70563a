"""What the model knows to be true of every ticket, and what must never happen to one.

It hears of each push, receipt, result and acknowledgement at the instant at which they happen,
and sees in Postgres, from outside, every change that was committed by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from life_model_lives import Life, Push
from life_model_phones import Handset, Wire
from life_model_witness import Row, Witness

from smsd.domain.lifecycle import BIRTHS, STEPS
from smsd.domain.records import Ticket
from smsd.gateway.visit import PATIENCE, Limits
from smsd.phone.frames import CancelResult, SendResult

ARROWS = {(step.leaves, step.enters) for step in STEPS}
FINAL = ("sent", "failed", "cancelled")
CONFIRM_TIMEOUT, MAX_ATTEMPTS = 600.0, 2
#: How much longer the clock of the real Postgres may have run than the model's. Seconds.
SLACK = 60.0


def _noted(look: Callable[..., None]) -> Callable[..., None]:
    """What is wrong here is raised when the gateway has come to rest."""

    @wraps(look)
    def noted(truth: Truth, *args: Any) -> None:
        try:
            look(truth, *args)
        except AssertionError as fault:
            truth.faults.append(fault)

    return noted


class Truth:
    """``mode`` is the setting ``unconfirmed``."""

    def __init__(self, witness: Witness, world: Any, mode: str, limits: Limits) -> None:
        self._witness = witness
        self._world = world
        self._limits = limits
        self.mode = mode
        #: How often what happened, so that a run can say that it was not idle.
        self.tally: Counter[str] = Counter()
        #: What was seen from inside of the gateway, which must not be made to stumble over it.
        self.faults: list[AssertionError] = []
        self.lives: dict[tuple[str, int], Life] = {}
        self._bodies: dict[str, tuple[str, int]] = {}
        self._radio: Counter[tuple[str, int, bool]] = Counter()

    # -- what is committed ---------------------------------------------------------------------

    def look(self) -> None:
        """See what was committed since the last look."""
        if self.faults:
            raise self.faults[0]
        for was, row in self._witness.changes():
            assert row.status is not None, f"{was} ticket {row.org_id}/{row.id} was deleted"
            if was is None:
                self._born(row)
            else:
                self._changed(self.lives[row.org_id, row.id], was, row)

    def _born(self, row: Row) -> None:
        assert row.status in BIRTHS, f"stored as {row.status}"
        assert row.body not in self._bodies, "stored twice"
        self._bodies[row.body] = (row.org_id, row.id)
        self.tally["tickets"] += 1
        life = self.lives[row.org_id, row.id] = Life(row)
        if row.status == "sending":
            self._handed(life)

    def _changed(self, life: Life, was: str, row: Row) -> None:
        before, life.row = life.row, row
        assert was == before.status
        assert (row.ref, row.body, row.sim_key) == (before.ref, before.body, before.sim_key)
        if row.status == was:
            if row.session_id != before.session_id:
                life.handed_in = self._world.step
            return
        assert (was, row.status) in ARROWS, f"{was} -> {row.status}"
        self.tally[f"{was} to {row.status}" + (f" ({row.error})" if row.error else "")] += 1
        match row.status:
            case "sending":
                self._handed(life)
            case "queued":
                life.displaced = True
                assert self.mode == "resend" or not life.pushes, "it was pushed, and waits again"
            case "sent":
                assert self._radio[row.org_id, row.id, True], "no phone sent it"
            case "failed":
                self._failed(life)
            case "cancelled":
                sent = life.sms.total() and self.mode == "fail"
                assert not sent, "cancelled, and it had been sent"

    def _handed(self, life: Life) -> None:
        life.handed_in = self._world.step
        if life.row.status == "sending":
            life.handed_at = self._world.now

    def _failed(self, life: Life) -> None:
        row = life.row
        match row.error:
            case "phone_failed":
                assert self._radio[row.org_id, row.id, False], "no phone said so"
            case "unconfirmed":
                assert self.mode == "fail"
                waited = self._world.now - life.handed_at
                assert waited > CONFIRM_TIMEOUT - SLACK, f"given up after {waited} s"
            case "undeliverable":
                taken = sum(push.received for push in life.pushes)
                assert taken >= MAX_ATTEMPTS, f"given up after {taken} receipts"
            case other:
                raise AssertionError(f"failed for {other}")

    # -- what happens on the wires -------------------------------------------------------------

    @_noted
    def pushes(self, wire: Wire, tickets: Sequence[Ticket], mark: int) -> None:
        """The gateway writes these to a phone."""
        assert wire.writable, "written to a wire that takes nothing"
        assert wire.live, "written before the phone was greeted"
        self.look()
        self._world.note_servers()
        for ticket in tickets:
            life = self.lives.get((ticket.org_id, ticket.id))
            assert life is not None, "pushed before it was committed"
            self._judge(wire, ticket, life)
            self.tally["pushes again" if life.pushes else "first pushes"] += 1
            life.pushes.append(Push(ticket, wire, mark, self._world.now))
        self._judge_limits(wire)

    def _judge(self, wire: Wire, ticket: Ticket, life: Life) -> None:
        row, phone = life.row, wire.phone
        assert ticket.org_id == phone.org_id, "another org's ticket"
        assert row.status != "cancelled", "pushed, though it was cancelled"
        assert row.status != "queued", "pushed before it was committed as sending"
        assert row.attempts >= ticket.attempt >= 1, "pushed before its attempt was committed"
        if row.status == "sending":
            assert row.session_id == self._world.session_of(wire), "pushed to another's session"
        assert (ticket.ref, ticket.body) == (row.ref, row.body)
        if life.pushes:
            assert ticket.attempt > life.pushes[-1].ticket.attempt, "attempt does not increase"
        if self.mode == "fail":
            self._judge_again(phone, life)
        if ticket.attempt == 1:
            self._judge_order(wire, life)

    def _judge_again(self, phone: Handset, life: Life) -> None:
        """Under ``fail`` no other phone gets it, and a plain one not if it may have sent it."""
        assert all(push.wire.phone.who == phone.who for push in life.pushes), "to another phone"
        if not phone.identity.keeps_ledger:
            assert not any(push.received for push in life.pushes), "again, after its receipt"
            assert not life.never_again, "again, though a crash left it unknown"

    def _judge_order(self, wire: Wire, life: Life) -> None:
        """An older one that waited for this phone goes first."""
        since = self._world.serves_since(wire, life.row.sim_key)
        for newer in self.lives_of(wire.phone.org_id):
            if newer.row.id > life.row.id and not life.displaced:
                first = next((p for p in newer.pushes if p.wire is wire), None)
                if first is not None and first.ticket.attempt == 1:
                    calm = self._world.was_calm(since, newer.handed_in)
                    assert not calm, f"{newer.row.id} was pushed before {life.row.id}"

    def _judge_limits(self, wire: Wire) -> None:
        mine = [(life, p) for life in self.lives_of(wire.phone.org_id) for p in life.pushes]
        mine = [(life, push) for life, push in mine if push.wire is wire and not push.answered]
        unreceipted = sum(not push.received for _, push in mine)
        assert unreceipted <= self._limits.window, "more than the window"
        recent = [
            push
            for life, push in mine
            if push is life.pushes[-1]
            and life.row.status == "sending"
            and push.at > self._world.now - PATIENCE
        ]
        assert len(recent) <= self._limits.unanswered, "more than may be unanswered"

    def receipt(self, wire: Wire, mark: int) -> None:
        for life in self.lives_of(wire.phone.org_id):
            for push in life.pushes:
                push.received |= push.wire is wire and push.mark <= mark

    def hears(self, wire: Wire, frame: Any) -> None:
        """The gateway reads a frame: a result is a receipt as well."""
        if not isinstance(frame, SendResult | CancelResult):
            return
        life = self.lives.get((wire.phone.org_id, frame.id))
        for push in life.pushes if life else ():
            push.received |= push.wire is wire
            push.answered |= push.wire is wire

    @_noted
    def acknowledges(self, wire: Wire, id_: int) -> None:
        """The gateway says that a result is committed."""
        self.tally["acknowledged results"] += 1
        self.look()
        life = self.lives[wire.phone.org_id, id_]
        assert wire.phone.identity.keeps_ledger, "a plain phone got an acknowledgement"
        assert life.row.status in FINAL, "acknowledged before it was committed"
        lines = [line for line in wire.phone.ledger.values() if line.id == id_]
        if any(line.answer is not None and line.answer.success for line in lines):
            assert life.row.status == "sent", "a success was acknowledged and is not written down"

    def radio(self, phone: Handset, id_: int, success: bool) -> None:
        """A phone has sent it, or could not."""
        life = self.lives[phone.org_id, id_]
        self._radio[phone.org_id, id_, success] += 1
        life.sms[phone.name] += success
        self.tally["SMS"] += success
        self.look()
        assert not (success and life.row.status == "cancelled"), "sent, though it was cancelled"
        if phone.identity.keeps_ledger:
            assert life.sms[phone.name] <= 1, "a ledger phone sent it twice"
            if self.mode == "fail":
                assert life.sms.total() <= 1, "sent twice"

    def crashes(self, wires: Sequence[Wire]) -> None:
        """What these wires were given is unknown from now on."""
        self.look()
        for life in self.lives.values():
            life.unknown |= life.row.status == "sending"
            for push in life.pushes:
                plain = not push.wire.phone.identity.keeps_ledger
                life.never_again |= push.wire in wires and push.wire.live and plain

    # -- agents --------------------------------------------------------------------------------

    def accepted(self, org_id: str, id_: int, body: str) -> None:
        """An agent was told that its ticket is committed."""
        self.look()
        life = self.lives.get((org_id, id_))
        assert life is not None, "an acknowledged ticket is not in the table"
        assert life.row.body == body, "the id of another ticket"

    def told_as_cancelled(self, org_id: str, id_: int) -> None:
        """An agent was told that its ticket will not be sent."""
        self.look()
        assert self.lives[org_id, id_].row.status == "cancelled", "it is not cancelled"

    def lives_of(self, org_id: str) -> list[Life]:
        return [life for (org, _), life in self.lives.items() if org == org_id]
