"""The promise of a ledger phone, under every order of pushes, crashes and acknowledgements."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from smsd.domain.records import Inbound, Sim
from smsd.handset.ledger import (
    INTERRUPTED,
    KEPT_MS,
    Acknowledged,
    Answered,
    Entry,
    Heard,
    Ledger,
    Owner,
    Settled,
    Taken,
)
from smsd.handset.phone import Effect, HandToRadio, Phone, Say, Write, WriteDown
from smsd.phone.frames import Connected, ResultAck, SendResult, SendSms

REFS = range(4)


@dataclass(frozen=True)
class Push:
    """The gateway pushes a ticket; the phone dies after so many effects."""

    ticket: int
    dies_after: int | None


@dataclass(frozen=True)
class RadioDone:
    ticket: int
    error: str | None
    dies_after: int | None


@dataclass(frozen=True)
class Ack:
    ticket: int


@dataclass(frozen=True)
class Reconnect:
    pass


@dataclass(frozen=True)
class Crash:
    pass


tickets = st.sampled_from(REFS)
deaths = st.one_of(st.none(), st.integers(0, 2))
steps = st.lists(
    st.one_of(
        st.builds(Push, tickets, deaths),
        st.builds(RadioDone, tickets, st.sampled_from([None, "no credit"]), deaths),
        st.builds(Ack, tickets),
        st.just(Reconnect()),
        st.just(Crash()),
    ),
    max_size=30,
)


class World:
    """A disk that survives, a radio that counts, and a phone that may die at any moment."""

    def __init__(self) -> None:
        self.disk: list[Entry] = []
        self.handed: Counter[str] = Counter()
        self.told: list[SendResult] = []
        self.pushed: set[int] = set()
        self.restart()

    def restart(self) -> None:
        ledger = Ledger(self.disk)
        ledger.close_the_gap()
        self.disk = list(ledger.needed(now=0))
        self.at_the_radio: dict[int, SendSms] = {}
        self.phone = Phone(Sim(slot=0), ledger)
        self.connect()

    def connect(self) -> None:
        self.phone.line_lost()
        self.carry_out(self.phone.receive(Connected("myorg"), 0), None)

    def step(self, step: object) -> None:
        match step:
            case Push(ticket, dies_after):
                self.pushed.add(ticket)
                sms = SendSms(ticket, "+1555", "hi", None, ref=f"ref{ticket}", attempt=1)
                self.carry_out(self.phone.receive(sms, 0), dies_after)
            case RadioDone(ticket, error, dies_after) if ticket in self.at_the_radio:
                sms = self.at_the_radio.pop(ticket)
                self.carry_out(self.phone.radio_answered(sms, 0, error), dies_after)
            case Ack(ticket):
                self.carry_out(self.phone.receive(ResultAck(ticket), 0), None)
            case Reconnect():
                self.connect()
            case Crash():
                self.restart()

    def carry_out(self, effects: list[Effect], dies_after: int | None) -> None:
        for effect in effects[:dies_after]:
            self.do(effect)
        if dies_after is not None:
            self.restart()

    def do(self, effect: Effect) -> None:
        match effect:
            case WriteDown(entry):
                self.disk.append(entry)
            case HandToRadio(sms):
                self.handed[str(sms.ref)] += 1
                self.at_the_radio[sms.id] = sms
            case Write(SendResult() as result):
                self.told.append(result)
            case Write() | Say():
                pass


@given(steps)
def test_no_ref_reaches_the_radio_twice_whatever_happens(plan: list[object]) -> None:
    world = World()
    for step in plan:
        world.step(step)
    assert all(times == 1 for times in world.handed.values())


@given(steps)
def test_success_is_told_only_of_what_the_radio_had(plan: list[object]) -> None:
    world = World()
    for step in plan:
        world.step(step)
    assert {result.ref for result in world.told if result.success} <= set(world.handed)


@given(steps)
def test_a_ticket_that_is_pushed_again_is_always_answered_in_the_end(plan: list[object]) -> None:
    world = World()
    for step in plan:
        world.step(step)
    world.told.clear()
    for ticket in world.pushed:
        world.step(Push(ticket, None))
        world.step(RadioDone(ticket, None, None))
    assert {result.id for result in world.told} == world.pushed


def test_what_was_at_the_radio_when_the_phone_died_is_told_as_failed_and_why() -> None:
    ledger = Ledger([Taken("ab", 5, 0)])
    ledger.close_the_gap()
    (result,) = ledger.unacknowledged()
    assert result == SendResult(5, success=False, error=INTERRUPTED, ref="ab")


def test_what_was_answered_before_the_phone_died_stays_as_it_was() -> None:
    ledger = Ledger([Taken("ab", 5, 0), Answered("ab", sent_at=7)])
    ledger.close_the_gap()
    assert ledger.unacknowledged() == [SendResult(5, success=True, sent_at=7, ref="ab")]


def test_a_line_is_kept_for_thirty_days_after_it_is_acknowledged() -> None:
    entries: list[Entry] = [Taken("ab", 5, 1), Answered("ab", sent_at=7), Acknowledged("ab")]
    assert list(Ledger(entries).needed(KEPT_MS)) == entries
    assert list(Ledger(entries).needed(KEPT_MS + 1)) == []


def test_a_line_that_is_not_acknowledged_is_kept_for_ever() -> None:
    entries: list[Entry] = [Taken("ab", 5, 1), Answered("ab", sent_at=7)]
    assert list(Ledger(entries).needed(KEPT_MS * 100)) == entries


def test_only_the_last_owner_and_what_is_not_settled_are_kept() -> None:
    old, new = (Owner(org_id="myorg", device_id=name, number="+1555") for name in ("a", "b"))
    first, second = (Heard(Inbound(address="+1555", body="", id=name)) for name in ("x", "y"))
    kept = Ledger([old, first, second, new, Settled("x")]).needed(0)
    assert list(kept) == [new, second]
