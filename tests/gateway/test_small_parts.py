"""The gateway's small parts: hashing, limits, turns, spawn, patience."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
import pytest_twisted
from nodes import WRONG, middle, soon, together
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smsd.domain.errors import TooMany, Unauthorised, Unavailable
from smsd.gateway.hashing import QUEUE, Hashing
from smsd.gateway.limits import Limit
from smsd.gateway.patience import Patience
from smsd.gateway.spawn import Spawn
from smsd.gateway.turns import Turns

# -- hashing -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_secret_matches_its_hash_and_no_other(hashing):
    hashed = await soon(hashing.hash("secret-of-mine"))
    assert hashed.startswith("$argon2id$")
    assert "secret-of-mine" not in hashed
    assert await soon(hashing.matches(hashed, "secret-of-mine")) is True
    assert await soon(hashing.matches(hashed, WRONG)) is False
    assert hashed != await soon(hashing.hash("secret-of-mine")), "salted"


@pytest_twisted.ensureDeferred
async def test_more_than_can_wait_are_sent_away_with_a_time_to_come_back():
    hashing = Hashing(reactor, middle)  # whose threads do not run yet
    waiting = [Deferred.fromCoroutine(hashing.hash("secret-of-mine")) for _ in range(QUEUE)]
    with pytest.raises(Unavailable) as refused:
        await hashing.hash("secret-of-mine")
    assert 5 <= refused.value.retry_after <= 30
    for each in waiting:
        each.addErrback(lambda _: None)
        each.cancel()


@pytest_twisted.ensureDeferred
async def test_no_thread_is_left_when_hashing_has_stopped():
    hashing = Hashing(reactor, middle)
    hashing.start()
    await together(*(hashing.hash("secret-of-mine") for _ in range(4)))
    named = [t for t in threading.enumerate() if "argon2" in t.name]
    assert 1 <= len(named) <= 2
    hashing.stop()
    assert not any(t.is_alive() for t in named)


# -- limits --------------------------------------------------------------------------------------


def test_a_limit_slides(clock):
    limit = Limit(clock.seconds, 2, 60, "things a minute")
    for seconds in (0, 40):
        clock.advance(seconds)
        limit.count("k")
    with pytest.raises(TooMany) as refused:
        limit.check("k")
    assert refused.value.retry_after == 20
    assert "at most 2 things a minute" in refused.value.detail
    with pytest.raises(TooMany):
        limit.count("k")
    limit.check("another")
    clock.advance(20)
    limit.count("k")
    with pytest.raises(TooMany) as refused:
        limit.check("k")
    assert refused.value.retry_after == 40


def test_a_limit_of_zero_is_none(clock):
    limit = Limit(clock.seconds, 0, 60, "things")
    for _ in range(1000):
        limit.count("k")
    limit.check("k")
    limit.take_back("k")
    assert limit._times == {}


def test_what_is_taken_back_does_not_count(clock):
    limit = Limit(clock.seconds, 1, 60, "things")
    limit.count("k")
    limit.take_back("k")
    limit.take_back("k")
    limit.count("k")
    with pytest.raises(TooMany):
        limit.count("k")


def test_a_limit_forgets_those_who_did_nothing_lately(clock):
    limit = Limit(clock.seconds, 5, 60, "things")
    limit.count("early")
    clock.advance(30)
    limit.count("late")
    clock.advance(30)
    limit.prune()
    assert list(limit._times) == ["late"]


# -- turns ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_turns_are_taken_one_after_another_and_keys_do_not_wait_for_each_other():
    turns: Turns[int] = Turns(10, "things")
    events: list[str] = []
    gates = {name: Deferred() for name in "abc"}

    def work(name: str):
        async def do() -> str:
            events.append(f"{name} begins")
            await gates[name]
            events.append(f"{name} ends")
            return name

        return do

    first, second = (Deferred.fromCoroutine(turns.take("k", work(n))) for n in "ab")
    other = Deferred.fromCoroutine(turns.take("another", work("c")))
    assert events == ["a begins", "c begins"]
    gates["b"].callback(None)
    gates["c"].callback(None)
    gates["a"].callback(None)
    assert events[2:] == ["c ends", "a ends", "b begins", "b ends"]
    assert [await first, await second, await other] == ["a", "b", "c"]
    assert turns._waiting == {}


@pytest_twisted.ensureDeferred
async def test_a_thousand_who_wait_are_served_without_running_out_of_stack():
    turns: Turns[int] = Turns(2000, "things")
    gate: Deferred[None] = Deferred()

    async def refuse() -> int:
        await gate
        raise Unauthorised()

    waiting = [Deferred.fromCoroutine(turns.take("k", refuse)) for _ in range(1500)]
    gate.callback(None)
    for each in waiting:
        with pytest.raises(Unauthorised):
            await each


@pytest_twisted.ensureDeferred
async def test_more_than_may_wait_for_a_turn_are_sent_away():
    turns: Turns[None] = Turns(2, "things")
    gate: Deferred[None] = Deferred()

    async def work() -> None:
        await gate

    waiting = [Deferred.fromCoroutine(turns.take("k", work)) for _ in range(3)]
    with pytest.raises(TooMany, match="Too many things at once"):
        await turns.take("k", work)
    gate.callback(None)
    for each in waiting:
        await each
    await turns.take("k", work)


# -- spawn ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_idle_waits_for_everything_that_was_started():
    spawn, gates, events = Spawn(), [Deferred(), Deferred()], []

    async def work(gate: Deferred[None]) -> None:
        await gate

    async def wait() -> None:
        await spawn.idle()
        events.append("idle")

    await spawn.idle()
    for gate in gates:
        spawn("working", work(gate))
    waiting = [Deferred.fromCoroutine(wait()) for _ in range(2)]
    gates[0].callback(None)
    assert events == []
    gates[1].callback(None)
    assert events == ["idle", "idle"]
    for each in waiting:
        await each


@pytest_twisted.ensureDeferred
async def test_what_fails_is_told_and_a_problem_is_no_failure(logged_failures):
    async def fail(error: Exception) -> None:
        raise error

    spawn = Spawn()
    spawn("dividing", fail(ZeroDivisionError()))
    spawn("asking", fail(Unauthorised()))
    await spawn.idle()
    (event,) = logged_failures.taken(ZeroDivisionError)
    assert event["what"] == "dividing"


# -- patience ------------------------------------------------------------------------------------


class Weather:
    """A database that is away so many times."""

    def __init__(self, bad: int) -> None:
        self.bad, self.asked = bad, 0

    async def ask(self) -> str:
        self.asked += 1
        if self.asked <= self.bad:
            raise Unavailable()
        return "fine"


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_done_now_is_tried_again_at_growing_intervals(clock):
    times: list[float] = []
    weather = Weather(8)

    async def work() -> str:
        times.append(clock.seconds())
        return await weather.ask()

    waiting = Deferred.fromCoroutine(Patience(clock, middle).insist(work))
    for _ in range(200):
        clock.advance(1 / 16)
    assert await waiting == "fine"
    pauses = [round(b - a, 1) for a, b in pairwise(times)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
@pytest_twisted.ensureDeferred
async def test_nothing_is_tried_after_the_time_is_up(clock, chance):
    weather, until = Weather(1000), 10.0
    asked_last = 0.0

    async def work() -> str:
        nonlocal asked_last
        asked_last = clock.seconds()
        return await weather.ask()

    waiting = Deferred.fromCoroutine(Patience(clock, lambda: chance).insist(work, until=until))
    for _ in range(150):
        clock.advance(0.1)
    with pytest.raises(Unavailable):
        await waiting
    assert 6 < asked_last <= until


@pytest_twisted.ensureDeferred
async def test_when_patience_is_over_every_failure_is_final(clock):
    patience, weather = Patience(clock, middle), Weather(1000)
    waiting = Deferred.fromCoroutine(patience.insist(weather.ask))
    patience.end()
    clock.advance(1)
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await patience.insist(weather.ask)
    assert weather.asked == 3


@pytest_twisted.ensureDeferred
async def test_other_errors_are_not_tried_again(clock):
    async def work() -> None:
        raise Unauthorised()

    with pytest.raises(Unauthorised):
        await Patience(clock, middle).insist(work)
