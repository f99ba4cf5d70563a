"""The steps of the model in which agents, phones and the gateway talk, each to the other's loss."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from life_model_cast import HERE, THERE
from life_model_phones import Handset, Wire
from life_model_world import World

from smsd.phone.frames import SendResult

PHONE = st.integers(0, 5)
FEW = st.integers(1, 4)
AT = st.integers(0, 7)
WISHES = [None, None, None, 0, 1, "+15550001", "15550002", "+15550004", "+15550005", "+1999"]


class Talk(RuleBasedStateMachine):
    """``cast``: the phones that take part."""

    world: World | None = None
    cast: list[Handset]

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

    @rule(phone=PHONE, at=AT)
    def an_agent_cancels(self, phone: int, at: int) -> None:
        """One of the latest tickets, wherever it is."""
        org_id = self.phone(phone).org_id
        self.here.truth.look()
        mine = self.here.truth.lives_of(org_id)
        if mine:
            self.here.cancel(org_id, mine[-1 - at % len(mine)].row.id)

    @rule(phone=PHONE)
    def all_goes_better(self, phone: int) -> None:
        """The phone is there, and all is read and answered."""
        if self.wire(phone) is None:
            self.a_phone_connects(phone, True)
        self.all_goes_well(phone)

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
