"""The life of tickets as a machine of steps that chance puts in any order.

Gateway, phones, agents, the network, Postgres and time take turns; after every step, and after
all has been mended at the end, what `life_model_truth` knows must hold.
"""

from __future__ import annotations

import sys

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from life_model_bench import Bench
from life_model_cast import CASTS
from life_model_healing import heal
from life_model_talk import AT, FEW, PHONE, Talk
from life_model_world import World

SECONDS = [0.2, 1.0, 1.0, 3.1, 3.1, 5.0, 5.0, 16.0, 46.0, 61.0, 601.0]
CALLS = [
    "append_messages", "claim_tickets", "end_pushes", "settle_results", "push_again",
    "find_owed", "begin_sessions", "end_sessions", "look up a batch", "waiting_orgs",
    "report_sims", "note_waits", "cancel_ticket", "cancel_handed",
]  # fmt: skip


class TicketLife(Talk):
    """``bench`` is set on a subclass for each run."""

    bench: Bench

    @initialize(mode=st.sampled_from(["fail", "fail", "resend"]), cast=st.sampled_from(CASTS))
    def begin(self, mode: str, cast: list[int]) -> None:
        self.bench.failures.clear()
        self.bench.examples += 1
        self.world = World(self.bench.server, self.bench.witness, mode)
        self.cast = [self.world.phones[number] for number in cast]
        for number in range(len(cast)):
            self.all_goes_better(number)

    # -- the network ---------------------------------------------------------------------------
    @rule(
        phone=PHONE,
        tickets=FEW,
        reads=st.integers(0, 4),
        works=st.integers(0, 3),
        hears=st.integers(0, 3),
        success=st.sampled_from([True, True, False]),
        how=st.sampled_from(["noticed", "half-open", "killed", "stopped", "stuck", "restarted"]),
    )
    def a_visit_is_cut_short(
        self, phone: int, tickets: int, reads: int, works: int, hears: int, success: bool, how: str
    ) -> None:
        """At any point between the push and the acknowledgement of the result."""
        if self.wire(phone) is None:
            self.a_phone_connects(phone, True)
            self.a_phone_reads(phone, 1)
            self.the_gateway_reads(phone, 1)
        if how == "stuck":
            self.a_connection_is_slow(phone, False)
        self.here.send(self.phone(phone).org_id, [None] * tickets)
        self.a_phone_reads(phone, reads)
        self.a_radio_works(phone, works, success)
        self.the_gateway_reads(phone, hears)
        match how:
            case "killed":
                self.here.crash(tickets % 2 == 0, reads)
            case "stopped":
                self.here.shut_down()
            case "restarted":
                self.a_phone_restarts(phone)
            case _:
                self.a_connection_breaks(phone, how != "half-open")

    @rule(
        phone=PHONE,
        reads=st.integers(0, 3),
        works=st.sampled_from([0, 0, 1]),
        hears=st.sampled_from([0, 1, 100, 100]),
        how=st.sampled_from(["well", "well", "noticed", "half-open", "killed"]),
    )
    def a_ticket_is_asked_back(
        self, phone: int, reads: int, works: int, hears: int, how: str
    ) -> None:
        """At any point between the push and the end of it."""
        self.all_goes_better(phone)
        self.here.send(self.phone(phone).org_id, [None])
        self.a_phone_reads(phone, 100)
        self.an_agent_cancels(phone, 0)
        self.a_radio_works(phone, works, True)
        self.a_phone_reads(phone, reads)
        self.the_gateway_reads(phone, hears)
        if how == "killed":
            self.here.crash(reads == 2, reads)
        elif how != "well":
            self.a_connection_breaks(phone, how == "noticed")

    @rule(phone=PHONE, where=st.sampled_from(["before", "after"]), stuck=st.booleans())
    def a_phone_is_gone_before_it_is_given_more(self, phone: int, where: str, stuck: bool) -> None:
        """While Postgres is asked for it, or when the wire has just become stuck."""
        self.postgres_is_slow(where, ["claim_tickets", "push_again"])
        self.a_connection_breaks_and_comes_back(phone)
        self.here.pass_time(3.1)
        if stuck:
            self.a_connection_is_slow(phone, False)
            self.here.paced.be_quick()
        self.a_connection_breaks(phone, True)
        self.here.paced.be_quick()

    @rule(phone=PHONE, where=st.sampled_from(["before", "after"]), lost=st.booleans())
    def a_newer_ticket_comes_in_between(self, phone: int, where: str, lost: bool) -> None:
        """While the phone, which had no place left, is being given older ones."""
        self.here.send(self.phone(phone).org_id, [None] * 4)
        self.here.judge()
        self.postgres_is_slow(where, ["claim_tickets"])
        self.a_phone_reads(phone, 100)
        self.a_radio_works(phone, 1, True)
        self.the_gateway_reads(phone, 100)
        self.here.send(self.phone(phone).org_id, [None])
        self.here.judge()
        for _ in range(len(self.here.paced.stuck) if lost else 0):
            self.here.paced.fail(0)
        self.here.paced.be_quick()

    @rule(phone=PHONE, hears=st.integers(0, 3))
    def a_result_comes_late(self, phone: int, hears: int) -> None:
        """After the gateway has given the ticket up, for it could not be told before."""
        self.here.send(self.phone(phone).org_id, [None])
        self.a_phone_reads(phone, 100)
        self.the_gateway_reads(phone, hears)
        self.a_connection_breaks(phone, True)
        self.a_radio_works(phone, 100, True)
        self.here.pass_time(601.0)
        self.here.judge()
        self.a_phone_connects(phone, True)
        self.all_goes_well(phone)

    @rule(phone=PHONE)
    def a_connection_breaks_and_comes_back(self, phone: int) -> None:
        self.a_connection_breaks(phone, phone % 2 == 0)
        self.a_phone_connects(phone, True)

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
