"""One phone's session, from the upgrade to the end, as a machine that does no input or output.

Inputs are what the phone, the clock and the gateway do; outputs go to a small `Effects`. The wire
(bytes, pings, transport) is `smsd.phone.link`'s; tickets and storage are the gateway's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, assert_never

from automat import TypeMachineBuilder

from smsd.domain.errors import BadFrame, Problem, Silent, Unauthorised
from smsd.phone.frames import (
    Auth,
    BadAuth,
    BadInbound,
    CancelResult,
    Connected,
    DeliveryReport,
    GatewayFrame,
    InboundSms,
    Ping,
    Pong,
    SendResult,
    Sims,
    told,
)

AUTH_FIRST = 'The first frame must be {"type":"auth",...}.'
#: An ``auth`` frame must come within so many seconds.
AUTH_WITHIN = 10.0
#: So many bad frames in so many seconds, and the session is closed.
BAD_FRAMES, BAD_WITHIN = 20, 60.0

Spoken = Sims | InboundSms | SendResult | DeliveryReport | CancelResult | Ping


class Broken(Problem):
    """Something went wrong in the gateway; its log says what."""

    slug, title, status, close = "internal", "Internal error", 500, 1011


class Effects(Protocol):
    """What the session may do to the outside."""

    def send(self, frame: GatewayFrame) -> None:
        """Write a frame."""

    def close(self, problem: Problem) -> None:
        """End the connection with the problem's close code."""

    def recognise(self, auth: Auth) -> None:
        """Ask the doorman and bring the phone on line; `admitted` or `refused` comes back.

        Meanwhile no more is read, so that little can come too early.
        """

    def serve(self) -> None:
        """The phone was greeted: tickets may flow."""

    def report(self, frame: Sims) -> None:
        """Store what SIMs the phone holds and acknowledge it."""

    def store(self, frame: InboundSms) -> None:
        """Store an SMS and answer, in the order of arrival."""

    def refuse(self, problem: BadInbound) -> None:
        """Answer an SMS that can never be stored, in the order of arrival."""

    def settle(self, frame: SendResult | DeliveryReport) -> None:
        """Write down what became of a ticket."""

    def take_back(self, frame: CancelResult) -> None:
        """Write down whether the phone gave a ticket back."""

    def leave(self, why: str) -> None:
        """The phone is not on line any more, if it was."""


class Session(Protocol):
    """What can happen to a session."""

    def knock(self) -> None:
        """The URL named who the phone is, and the doorman was asked already."""

    def auth(self, frame: Auth) -> None:
        """The phone says who it is."""

    def speak(self, frame: Spoken) -> None:
        """The phone sent a good frame that is not ``auth``."""

    def stammer(self, problem: BadFrame, now: float) -> None:
        """The phone sent a bad frame, at ``now`` in seconds."""

    def admitted(self, org_id: str) -> None:
        """The phone is on line."""

    def refused(self, problem: Problem) -> None:
        """The phone may not come on line."""

    def time_out(self) -> None:
        """No ``auth`` frame came in time."""

    def dismiss(self, problem: Problem) -> None:
        """The gateway ends the session."""

    def lost(self, why: str) -> None:
        """The connection is gone."""


@dataclass
class Core:
    """What all states share."""

    effects: Effects
    #: What the phone said before it was admitted: good frames, and bad ones with their time.
    early: list[Spoken | tuple[BadFrame, float]] = field(default_factory=list)
    bad: list[float] = field(default_factory=list)

    def end(self, problem: Problem) -> None:
        """Close for a reason of ours, and tell the gateway."""
        self.effects.close(problem)
        self.effects.leave(problem.slug)

    def complain(self, problem: BadFrame, now: float) -> bool:
        """Answer a bad frame; whether there were too many of them."""
        if isinstance(problem, BadInbound):
            self.effects.refuse(problem)
            return False
        self.effects.send(told(problem))
        while self.bad and self.bad[0] <= now - BAD_WITHIN:
            self.bad.pop(0)
        self.bad.append(now)
        return len(self.bad) >= BAD_FRAMES


_builder = TypeMachineBuilder(Session, Core)

#: Connected, and not yet said who it is.
unknown = _builder.state("unknown")
#: Has said who it is; the doorman is being asked.
asked = _builder.state("asked")
#: On line.
on_line = _builder.state("on line")
#: Over.
over = _builder.state("over")

unknown.upon(Session.knock).to(asked).returns(None)
over.upon(Session.auth).loop().returns(None)
over.upon(Session.speak).loop().returns(None)
over.upon(Session.stammer).loop().returns(None)
over.upon(Session.admitted).loop().returns(None)
over.upon(Session.refused).loop().returns(None)
over.upon(Session.time_out).loop().returns(None)
over.upon(Session.dismiss).loop().returns(None)
over.upon(Session.lost).loop().returns(None)
asked.upon(Session.time_out).loop().returns(None)
on_line.upon(Session.time_out).loop().returns(None)


@unknown.upon(Session.auth).to(asked)
def ask_the_doorman(session: Session, core: Core, frame: Auth) -> None:
    core.effects.recognise(frame)


@unknown.upon(Session.speak).to(over)
def frame_before_auth(session: Session, core: Core, frame: Spoken) -> None:
    problem = Unauthorised(AUTH_FIRST)
    core.effects.send(told(problem))
    core.end(problem)


@unknown.upon(Session.stammer).to(over)
def nonsense_before_auth(session: Session, core: Core, problem: BadFrame, now: float) -> None:
    core.effects.send(told(problem))
    core.end(Unauthorised(problem.detail if isinstance(problem, BadAuth) else AUTH_FIRST))


@unknown.upon(Session.time_out).to(over)
def nothing_said(session: Session, core: Core) -> None:
    core.end(Silent(f"No auth frame came within {AUTH_WITHIN:.0f} seconds."))


@asked.upon(Session.auth).loop()
def auth_twice(session: Session, core: Core, frame: Auth) -> None:
    core.effects.send(told(BadFrame("auth is sent once, and not where the URL said it.")))


@asked.upon(Session.speak).loop()
def speak_early(session: Session, core: Core, frame: Spoken) -> None:
    core.early.append(frame)


@asked.upon(Session.stammer).loop()
def stammer_early(session: Session, core: Core, problem: BadFrame, now: float) -> None:
    core.early.append((problem, now))


@asked.upon(Session.admitted).to(on_line)
def greet(session: Session, core: Core, org_id: str) -> None:
    core.effects.send(Connected(org_id))
    core.effects.serve()
    early, core.early = core.early, []
    for said in early:
        # Said again as an input, for the first of them may end the session.
        if isinstance(said, tuple):
            session.stammer(*said)
        else:
            session.speak(said)


@asked.upon(Session.refused).to(over)
def turn_away(session: Session, core: Core, problem: Problem) -> None:
    core.effects.send(told(problem))
    core.end(problem)


@on_line.upon(Session.auth).loop()
def auth_again(session: Session, core: Core, frame: Auth) -> None:
    core.effects.send(told(BadFrame("This phone is on line already: auth is sent once.")))


@on_line.upon(Session.speak).loop()
def answer(session: Session, core: Core, frame: Spoken) -> None:
    match frame:
        case InboundSms():
            core.effects.store(frame)
        case SendResult() | DeliveryReport():
            core.effects.settle(frame)
        case CancelResult():
            core.effects.take_back(frame)
        case Sims():
            core.effects.report(frame)
        case Ping():
            core.effects.send(Pong())
        case _:
            assert_never(frame)


@on_line.upon(Session.stammer).loop()
def stammer(session: Session, core: Core, problem: BadFrame, now: float) -> None:
    if core.complain(problem, now):
        session.dismiss(BadFrame(f"{BAD_FRAMES} bad frames within a minute."))


@unknown.upon(Session.dismiss).to(over)
def dismiss_stranger(session: Session, core: Core, problem: Problem) -> None:
    core.end(problem)


@asked.upon(Session.dismiss).to(over)
def dismiss_asked(session: Session, core: Core, problem: Problem) -> None:
    core.end(problem)


@on_line.upon(Session.dismiss).to(over)
def dismiss_phone(session: Session, core: Core, problem: Problem) -> None:
    core.end(problem)


@unknown.upon(Session.lost).to(over)
def stranger_gone(session: Session, core: Core, why: str) -> None:
    """Nobody has to be told."""


@asked.upon(Session.lost).to(over)
def gone_while_asked(session: Session, core: Core, why: str) -> None:
    core.effects.leave(why)


@on_line.upon(Session.lost).to(over)
def phone_gone(session: Session, core: Core, why: str) -> None:
    core.effects.leave(why)


machine = _builder.build()


def new_session(effects: Effects) -> Session:
    """A session in its first state, which acts through ``effects``."""
    return machine(Core(effects))
