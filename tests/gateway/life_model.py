"""The life of tickets as a machine of steps that chance puts in any order.

Gateway, phones, agents, the network, Postgres and time take turns; after every step, and after
all has been mended at the end, what `life_model_truth` knows must hold.
"""

from __future__ import annotations

import sys

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from life_model_bench import Bench
from life_model_cast import CASTS, HERE, THERE
from life_model_healing import heal
from life_model_phones import Handset, Wire
from life_model_world import World

from smsd.phone.frames import SendResult

PHONE = st.integers(0, 5)
FEW = st.integers(1, 4)
AT = st.integers(0, 7)
WISHES = [None, None, None, 0, 1, "+15550001", "15550002", "+15550004", "+15550005", "+1999"]
SECONDS = [0.2, 1.0, 1.0, 3.1, 3.1, 5.0, 5.0, 16.0, 46.0, 61.0, 601.0]
CALLS = [
    "append_messages", "claim_tickets", "end_pushes", "settle_results", "push_again",
    "find_owed", "begin_sessions", "end_sessions", "waiting_orgs", "report_sims", "note_waits",
]  # fmt: skip


class TicketLife(RuleBasedStateMachine):
    """``bench`` is set on a subclass for each run."""

    bench: Bench
    world: World | None = None

    @initialize(mode=st.sampled_from(["fail", "fail", "resend"]), cast=st.sampled_from(CASTS))
    def begin(self, mode: str, cast: list[int]) -> None:
        self.bench.failures.clear()
        self.bench.examples += 1
        self.world = World(self.bench.server, self.bench.witness, mode)
        self.cast = [self.world.phones[number] for number in cast]

    @property
    def here(self) -> World:
        assert self.world is not None
        return self.world

    def wire(self, phone: int) -> Wire | None:
        return self.phone(phone).wire

    def phone(self, number: int) -> Handset:
        return self.cast[number % len(self.cast)]

    # -- agents and phones ---------------------------------------------------------------------

    @rule(
        org_id=st.sampled_from([HERE, HERE, THERE]),
        wishes=st.lists(st.sampled_from(WISHES), min_size=1, max_size=5),
    )
    def an_agent_sends(self, org_id: str, wishes: list[str | int | None]) -> None:
        self.here.send(org_id, wishes)

    @rule(most=FEW)
    def an_agent_sends_to_anyone(self, most: int) -> None:
        """To an org whose phones take part."""
        self.here.send(self.cast[0].org_id, [None] * most)

    @rule(phone=PHONE, most=FEW)
    def an_agent_sends_by_a_sim(self, phone: int, most: int) -> None:
        handset = self.phone(phone)
        sims: list[str | int | None] = [sim.number for sim in handset.sims] or [0]
        self.here.send(handset.org_id, (sims * most)[:most])

    @rule(phone=PHONE)
    def all_goes_better(self, phone: int) -> None:
        """The phone is there, and all is read and answered."""
        if self.wire(phone) is None:
            self.a_phone_connects(phone, True)
        self.all_goes_well(phone)

    @rule(phone=PHONE)
    def a_connection_breaks_and_comes_back(self, phone: int) -> None:
        self.a_connection_breaks(phone, phone % 2 == 0)
        self.a_phone_connects(phone, True)

    @rule(phone=PHONE, reports=st.sampled_from([True, True, True, False]))
    def a_phone_connects(self, phone: int, reports: bool) -> None:
        self.here.come(self.phone(phone), reports)

    @rule(phone=PHONE, most=st.sampled_from([1, 2, 3, 100]))
    def a_phone_reads(self, phone: int, most: int) -> None:
        for _ in range(most):
            wire = self.wire(phone)
            if wire is None or not wire.to_phone or not wire.flowing:
                return
            wire.phone.read(wire.to_phone.popleft())

    @rule(phone=PHONE, most=st.sampled_from([1, 2, 3, 100]))
    def the_gateway_reads(self, phone: int, most: int) -> None:
        for _ in range(most):
            wire = self.wire(phone)
            if wire is not None and wire.to_gateway and wire.reading:
                wire.gateway_reads()

    @rule(phone=PHONE, most=FEW, success=st.sampled_from([True, True, True, False]))
    def a_radio_works(self, phone: int, most: int, success: bool) -> None:
        handset = self.phone(phone)
        for _ in range(min(most, len(handset.radio))):
            handset.send_sms(success)

    @rule(phone=PHONE)
    def all_goes_well(self, phone: int) -> None:
        for _ in range(3):
            self.a_phone_reads(phone, 100)
            self.a_radio_works(phone, 100, True)
            self.the_gateway_reads(phone, 100)

    @rule(phone=PHONE, at=AT)
    def a_phone_repeats_itself(self, phone: int, at: int) -> None:
        handset = self.phone(phone)
        if handset.wire is not None and handset.told:
            handset.tell(handset.told[-1 - at % len(handset.told)])

    @rule(phone=PHONE, kind=st.sampled_from(["wrong ref", "unknown", "never pushed"]), at=AT)
    def a_phone_is_wrong(self, phone: int, kind: str, at: int) -> None:
        """What it says must change nothing; it is heard at once."""
        wire, world = self.wire(phone), self.here
        if wire is None or not wire.live or world.paced.slow or world.paced.stuck:
            return
        world.truth.look()
        mine = world.truth.lives_of(wire.phone.org_id)
        pushed = [life.row.id for life in mine if life.row.attempts]
        others = [life.row.id for life in mine if not life.row.attempts]
        ids = {"wrong ref": pushed, "unknown": [999], "never pushed": others}[kind]
        if ids:
            ref = "00" * 16 if kind == "wrong ref" else None
            result = SendResult(ids[at % len(ids)], True, ref=ref)
            wire.to_gateway.appendleft(result)
            before = [life.row for life in mine]
            wire.gateway_reads()
            world.truth.look()
            after = [life.row for life in mine]
            assert [r.status in ("sent",) for r in before] == [r.status == "sent" for r in after]

    @rule(phone=PHONE)
    def a_phone_restarts(self, phone: int) -> None:
        handset = self.phone(phone)
        if handset.wire is not None:
            self.here.drop(handset.wire, noticed=False)
        handset.restart()

    # -- the network ---------------------------------------------------------------------------

    @rule(phone=PHONE, noticed=st.booleans())
    def a_connection_breaks(self, phone: int, noticed: bool) -> None:
        wire = self.wire(phone)
        if wire is not None:
            self.here.drop(wire, noticed)

    @rule(at=AT, arrived=st.integers(0, 2))
    def the_gateway_notices(self, at: int, arrived: int) -> None:
        """That a connection is dead; some of what the phone had said may have come through."""
        ghosts = self.here.ghosts
        if ghosts:
            wire = ghosts[at % len(ghosts)]
            for _ in range(min(arrived, len(wire.to_gateway))):
                wire.gateway_reads()
            self.here.notice(wire)

    @rule(phone=PHONE, flowing=st.booleans())
    def a_connection_is_slow(self, phone: int, flowing: bool) -> None:
        wire = self.wire(phone)
        if wire is not None and wire.live:
            wire.flow(flowing)

    # -- Postgres, time and the process --------------------------------------------------------

    @rule(
        where=st.sampled_from(["before", "after"]),
        names=st.lists(st.sampled_from(CALLS), max_size=3),
    )
    def postgres_is_slow(self, where: str, names: list[str]) -> None:
        self.here.paced.slow, self.here.paced.names = where, frozenset(names)

    @precondition(lambda self: self.here.paced.stuck)
    @rule(at=AT)
    def postgres_answers(self, at: int) -> None:
        self.here.paced.go_on(at % len(self.here.paced.stuck))

    @precondition(lambda self: self.here.paced.slow)
    @rule()
    def postgres_is_quick(self) -> None:
        self.here.paced.be_quick()

    @precondition(lambda self: self.here.paced.stuck)
    @rule(at=AT)
    def postgres_fails(self, at: int) -> None:
        self.here.paced.fail(at % len(self.here.paced.stuck))

    @rule(seconds=st.sampled_from(SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.here.pass_time(seconds)

    @rule(how=st.sampled_from(["killed", "killed", "stopped"]), happen=st.sampled_from([0, 1, 9]))
    def the_gateway_ends(self, how: str, happen: int) -> None:
        """Killed, it begins again at once; the name of the new process is that of the old one,
        or another, and then nobody knows for a while that the old one is dead."""
        if how == "stopped":
            self.here.shut_down()
        else:
            self.here.crash(self.here.step % 2 == 0, happen)

    # -- after every step ----------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        if self.world is not None:
            self.bench.steps += 1
            self.world.judge()
            self.no_failure()

    def no_failure(self) -> None:
        told = [str(event.get("log_failure") or event) for event in self.bench.failures]
        assert told == []

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if sys.exc_info()[0] is None:
                heal(self.world)
                self.no_failure()
                self.bench.tally += self.world.truth.tally
        finally:
            self.world.end()
