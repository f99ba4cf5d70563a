"""The session alone: inputs in, effects out, in every state."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from automat import NoTransition

from smsd.domain.errors import (
    BadFrame,
    Fault,
    Invalid,
    Locked,
    Problem,
    Replaced,
    ShuttingDown,
    Unauthorised,
)
from smsd.domain.records import Inbound, Sim
from smsd.phone.frames import (
    Auth,
    BadInbound,
    Connected,
    Error,
    InboundSms,
    Ping,
    Pong,
    SendResult,
    Sims,
)
from smsd.phone.session import Session, machine, new_session

AUTH = Auth("myorg", "my-secret-key-123")
SMS = InboundSms(Inbound(address="+1", body="hi"))
RESULT = SendResult(5, True)
SIMS = Sims([Sim(slot=0)])
BAD = BadFrame("No.")
CANNOT = BadInbound("Never.", "7")


class Effects:
    """Notes what the session does; closings by their code."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def close(self, problem: Problem) -> None:
        self.events.append(("close", problem.close))

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *said: self.events.append((name, *said))

    def taken(self) -> list[tuple[Any, ...]]:
        events, self.events = self.events, []
        return events


class Stage:
    """A session with its effects, brought to a state by what happens on the way there."""

    def __init__(self, state: str = "unknown") -> None:
        self.effects = Effects()
        self.session: Session = new_session(self.effects)
        for step in WAYS[state]:
            step(self.session)
        self.effects.taken()

    @property
    def events(self) -> list[tuple[Any, ...]]:
        return self.effects.taken()


WAYS: dict[str, list[Callable[[Session], None]]] = {
    "unknown": [],
    "asked": [lambda s: s.auth(AUTH)],
    "on line": [lambda s: s.auth(AUTH), lambda s: s.admitted("myorg")],
    "over": [lambda s: s.lost("gone")],
}
INPUTS: dict[str, Callable[[Session], None]] = {
    "knock": lambda s: s.knock(),
    "auth": lambda s: s.auth(AUTH),
    "speak": lambda s: s.speak(Ping()),
    "stammer": lambda s: s.stammer(BAD, 0.0),
    "admitted": lambda s: s.admitted("myorg"),
    "refused": lambda s: s.refused(Unauthorised("No.")),
    "time_out": lambda s: s.time_out(),
    "dismiss": lambda s: s.dismiss(ShuttingDown()),
    "lost": lambda s: s.lost("gone"),
}
REFUSED = ("send", Error("unauthorised", "No."))
SAID_BAD = ("send", Error("bad_frame", "No."))
FIRST = 'The first frame must be {"type":"auth",...}.'
#: What every input does in every state; None: it cannot happen there.
TABLE: dict[str, dict[str, list[tuple[Any, ...]] | None]] = {
    "unknown": {
        "knock": [],
        "auth": [("recognise", AUTH)],
        "speak": [
            ("send", Error("unauthorised", FIRST)),
            ("close", 4401),
            ("leave", "unauthorised"),
        ],
        "stammer": [SAID_BAD, ("close", 4401), ("leave", "unauthorised")],
        "admitted": None,
        "refused": None,
        "time_out": [("close", 4408), ("leave", "silent")],
        "dismiss": [("close", 1001), ("leave", "shutting_down")],
        "lost": [],
    },
    "asked": {
        "knock": None,
        "auth": [
            ("send", Error("bad_frame", "auth is sent once, and not where the URL said it.")),
        ],
        "speak": [],
        "stammer": [],
        "admitted": [("send", Connected("myorg")), ("serve",)],
        "refused": [REFUSED, ("close", 4401), ("leave", "unauthorised")],
        "time_out": [],
        "dismiss": [("close", 1001), ("leave", "shutting_down")],
        "lost": [("leave", "gone")],
    },
    "on line": {
        "knock": None,
        "auth": [
            ("send", Error("bad_frame", "This phone is on line already: auth is sent once.")),
        ],
        "speak": [("send", Pong())],
        "stammer": [SAID_BAD],
        "admitted": None,
        "refused": None,
        "time_out": [],
        "dismiss": [("close", 1001), ("leave", "shutting_down")],
        "lost": [("leave", "gone")],
    },
    "over": {"knock": None, **{name: [] for name in INPUTS if name != "knock"}},
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("state", WAYS)
def test_every_input_in_every_state(state: str, name: str) -> None:
    stage, expected = Stage(state), TABLE[state][name]
    if expected is None:
        with pytest.raises(NoTransition):
            INPUTS[name](stage.session)
        assert stage.events == []
    else:
        INPUTS[name](stage.session)
        assert stage.events == expected


def test_no_input_is_forgotten_here() -> None:
    inputs = {name for name, _ in inspect.getmembers(Session, inspect.isfunction) if name[0] != "_"}
    assert inputs == set(INPUTS)
    assert all(set(row) == inputs for row in TABLE.values())


def test_no_state_is_forgotten_here_and_all_roads_lead_to_the_end() -> None:
    drawn: dict[str, set[str]] = {}
    for before, _, after, _ in machine.__automat_automaton__.allTransitions():
        drawn.setdefault(before.name, set()).add(after.name)
    assert drawn == {
        "unknown": {"asked", "over"},
        "asked": {"asked", "on line", "over"},
        "on line": {"on line", "over"},
        "over": {"over"},
    }
    assert set(drawn) == set(WAYS)


def test_a_phone_of_the_url_is_on_line_when_it_is_admitted() -> None:
    stage = Stage()
    stage.session.knock()
    stage.session.admitted("myorg")
    assert stage.events == [("send", Connected("myorg")), ("serve",)]


@pytest.mark.parametrize(
    ("frame", "effect"),
    [
        (SMS, ("store", SMS)),
        (RESULT, ("settle", RESULT)),
        (SIMS, ("report", SIMS)),
        (Ping(), ("send", Pong())),
    ],
)
def test_what_a_phone_says_on_line_is_done(frame: Any, effect: tuple[Any, ...]) -> None:
    stage = Stage("on line")
    stage.session.speak(frame)
    assert stage.events == [effect]


def test_a_bad_inbound_is_refused_in_its_order_and_forgives_the_phone() -> None:
    stage = Stage("on line")
    for _ in range(50):
        stage.session.stammer(CANNOT, 0.0)
    assert stage.events == [("refuse", CANNOT)] * 50


def test_what_comes_early_is_done_after_the_greeting_in_its_order() -> None:
    stage = Stage("asked")
    for frame in (SIMS, SMS):
        stage.session.speak(frame)
    stage.session.stammer(BAD, 1.0)
    stage.session.stammer(CANNOT, 1.0)
    stage.session.speak(RESULT)
    assert stage.events == []
    stage.session.admitted("myorg")
    assert stage.events == [
        ("send", Connected("myorg")),
        ("serve",),
        ("report", SIMS),
        ("store", SMS),
        SAID_BAD,
        ("refuse", CANNOT),
        ("settle", RESULT),
    ]


def test_what_comes_early_is_forgotten_with_a_refusal() -> None:
    stage = Stage("asked")
    stage.session.speak(SMS)
    stage.session.refused(Locked("Later."))
    assert stage.events == [
        ("send", Error("locked", "Later.")),
        ("close", 4429),
        ("leave", "locked"),
    ]


def test_too_much_nonsense_that_came_early_ends_the_session_before_the_rest_is_done() -> None:
    stage = Stage("asked")
    for _ in range(20):
        stage.session.stammer(BAD, 1.0)
    stage.session.speak(SMS)
    stage.session.admitted("myorg")
    assert stage.events == [
        ("send", Connected("myorg")),
        ("serve",),
        *[SAID_BAD] * 20,
        ("close", 4400),
        ("leave", "bad_frame"),
    ]


def test_a_refusal_says_every_fault() -> None:
    stage = Stage("asked")
    stage.session.refused(Invalid("No.", errors=[Fault(["secret_key"], "is short")]))
    assert stage.events[0] == ("send", Error("invalid", "No. secret_key is short"))


def test_twenty_bad_frames_in_a_minute_end_the_session() -> None:
    stage = Stage("on line")
    for second in range(19):
        stage.session.stammer(BAD, second * 3.0)
    assert stage.events == [SAID_BAD] * 19
    stage.session.stammer(BAD, 59.9)
    assert stage.events == [SAID_BAD, ("close", 4400), ("leave", "bad_frame")]


def test_twenty_bad_frames_in_more_than_a_minute_do_not() -> None:
    stage = Stage("on line")
    for at in range(200):
        stage.session.stammer(BAD, at * 3.2)
    assert stage.events == [SAID_BAD] * 200


@pytest.mark.parametrize("end", ["dismiss", "lost", "refused"])
def test_everything_after_the_end_is_silent(end: str) -> None:
    stage = Stage("asked")
    INPUTS[end](stage.session)
    assert stage.events[-1][0] == "leave"
    for name, act in INPUTS.items():
        if name != "knock":
            act(stage.session)
    assert stage.events == []


def test_an_effect_may_end_the_session() -> None:
    """The socket may fail while it is written to."""
    stage = Stage("asked")
    stage.effects.send = lambda frame: stage.session.dismiss(Replaced())  # type: ignore[method-assign]
    stage.session.speak(SMS)
    stage.session.admitted("myorg")
    assert stage.events == [("serve",), ("close", 4409), ("leave", "replaced")]
