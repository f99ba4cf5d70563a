"""The end of each run of the model: all is mended, and every ticket must come to its end."""

from __future__ import annotations

from life_model_phones import Wire
from life_model_truth import CONFIRM_TIMEOUT, FINAL, Life
from life_model_world import World

#: Rounds in which nothing may be left to do. One takes five seconds of the model's time.
ROUNDS = 20


def heal(world: World) -> None:
    """Postgres answers, every phone comes back and works, and time passes."""
    world.paced.be_quick()
    for _ in range(8):
        if world.stopping is None:
            break
        _a_round(world, 1.0)
    for wire in world.ghosts:
        world.notice(wire)
    world.judge()
    world.pass_time(61.0)  # nobody flaps any more, and no dead node is held for alive
    world.judge()
    for phone in world.phones:
        if phone.wire is None or not phone.wire.live or not phone.wire.reports:
            if phone.wire is not None:
                world.drop(phone.wire, noticed=True)
            world.come(phone, reports=True)
    _work(world)
    for life in world.truth.lives.values():
        assert _may_rest(world, life), f"{life.row} is stuck"
    for _ in range(4):
        if all(_may_end_so(world, life) for life in world.truth.lives.values()):
            return
        world.pass_time(CONFIRM_TIMEOUT + 1)
        world.judge()
        _work(world)
    for life in world.truth.lives.values():
        assert _may_end_so(world, life), f"{life.row} never ends"


def _work(world: World) -> None:
    """Until nothing has changed for longer than the grace of a plain phone, and the poll."""
    quiet, before = 0, None
    for _ in range(ROUNDS):
        _a_round(world, 5.0)
        now = [life.row for life in world.truth.lives.values()]
        quiet = quiet + 1 if now == before else 0
        before = now
        if quiet == 2:
            return
    raise AssertionError("it never comes to rest")


def _a_round(world: World, seconds: float) -> None:
    """All that can be read is read, and answered; then time passes."""
    talking = True
    while talking:
        world.paced.be_quick()
        said = [_talk(wire) for wire in world.wires if wire.phone.wire is wire]
        talking = any(said)
        world.judge()
    world.pass_time(seconds)
    world.judge()


def _talk(wire: Wire) -> bool:
    """Whether anything was said between the phone and the gateway."""
    wire.flow(True)
    said = bool(wire.to_phone or wire.phone.radio or (wire.to_gateway and wire.reading))
    while wire.to_phone and wire.phone.wire is wire:
        wire.phone.read(wire.to_phone.popleft())
    while wire.phone.radio:
        wire.phone.send_sms(True)
    while wire.to_gateway and wire.reading:
        wire.gateway_reads()
    return said


def _may_end_so(world: World, life: Life) -> bool:
    waits = life.row.status == "queued" and _nobody_fits(world, life)
    return waits or life.row.status in FINAL


def _may_rest(world: World, life: Life) -> bool:
    """Whether a ticket may be without an end although its phone is back and answers.

    Only what a plain phone may have sent, and what was given to a phone that had not said who it
    is. Those end by ``confirm_timeout``.
    """
    if _may_end_so(world, life):
        return True
    if life.row.status == "queued" or not life.pushes:
        return life.unknown
    phone = life.pushes[-1].wire.phone
    if phone.who == "?":
        return True
    plain = not phone.identity.keeps_ledger
    return plain and (life.unknown or life.pushes[-1].received)


def _nobody_fits(world: World, life: Life) -> bool:
    return (life.row.org_id, life.row.sim_key) not in world.first
