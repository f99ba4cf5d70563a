"""Keeps the phone on line and carries out what it decides.

`Link` is the only place where the parts meet: the phone's rules (`smsd.handset.phone`), the rules
of coming back (`smsd.handset.returning`), the line, the radio, the ledger's file, the screen. It
has no rules of its own.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, assert_never
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smsd.domain.errors import BadFrame
from smsd.domain.records import Sim
from smsd.handset.ledger_file import LedgerProblem, Memory
from smsd.handset.line import Address, Dialling, Line
from smsd.handset.phone import Effect, HandToRadio, Phone, Say, TakeFromRadio, Write, WriteDown
from smsd.handset.radio import NotSent, Radio
from smsd.handset.returning import Again, End, Returning, Stop, Unreachable
from smsd.handset.screen import Screen, typed
from smsd.phone.frames import PhoneFrame, SendSms, decode_from_gateway, encode


@dataclass(frozen=True, slots=True)
class Parts:
    """What a phone is made of."""

    sim: Sim
    phone: Phone
    radio: Radio
    screen: Screen
    memory: Memory
    random: Random


class Link:
    """A phone that is switched on."""

    _log = Logger()

    def __init__(self, reactor: Any, address: Address, parts: Parts) -> None:
        self._clock = reactor
        self._parts = parts
        self._screen = parts.screen
        self._dialling = Dialling(reactor, address, self._came)
        self._returning = Returning(parts.random)
        self._line: Line | None = None
        #: What the radio has of tickets with a ref.
        self._sending: dict[str, Deferred[Any]] = {}
        self._exit_code: int | None = None  # set when there will be no other visit

    def switch_on(self) -> Deferred[int]:
        """Fires with the program's exit code when there is no point in coming back."""
        self._life: Deferred[int] = Deferred.fromCoroutine(self._stay_on_line())
        return self._life

    def switch_off(self) -> Deferred[Any] | None:
        """Says goodbye; the answer fires when the line is down."""
        self._exit_code = 0
        if self._line is None or not self._line.is_up:
            return None
        self._line.sendClose(1000, "switched off")
        return self._line.is_closed  # type: ignore[no-any-return]

    def give_up(self) -> None:
        """There is no point in going on: what is under way is broken off."""
        self._exit_code = 1
        self._clock.callLater(0, lambda: self._life.cancel())

    def typed(self, line: str) -> None:
        """The user typed a line: an SMS arrives."""
        if not line.strip():
            return
        message = typed(line, self._parts.sim, self._new_id(), self._now())
        if isinstance(message, str):
            self._screen.show(message)
            return
        self._carry_out(self._parts.phone.heard(message))

    async def _stay_on_line(self) -> int:
        while self._exit_code is None:
            with suppress(CancelledError, ConnectingCancelledError):
                end = await self._visit()
                await self._follow(self._returning.after(end))
        return self._exit_code

    async def _visit(self) -> End:
        """One connection, from dialling until it has ended."""
        try:
            line = await self._dialling.dial()
        except (ConnectError, DNSLookupError) as error:
            return Unreachable(str(error))
        self._line = line
        try:
            return await line.over
        finally:
            self._line = None
            self._parts.phone.line_lost()

    async def _follow(self, advice: Stop | Again) -> None:
        if self._exit_code is not None:  # ended from this side, so no end to come back from
            return
        match advice:
            case Stop(words):
                self._screen.show(words)
                self._exit_code = 1
            case Again(words, seconds):
                self._screen.show(f"{words}; back in {seconds:.1f} s")
                await deferLater(self._clock, seconds)

    def _came(self, payload: bytes) -> None:
        if self._exit_code is not None:  # a ticket not taken now will be pushed again
            return
        try:
            frame = decode_from_gateway(payload)
        except BadFrame as problem:  # a newer gateway may say things that we need not know
            self._screen.show(f"a frame that this phone does not know: {problem.detail}")
            return
        self._screen.came(frame)
        self._carry_out(self._parts.phone.receive(frame, self._now()))

    def _carry_out(self, effects: list[Effect]) -> None:
        try:
            for effect in effects:
                self._do(effect)
        except LedgerProblem as problem:
            # What is not written down must not happen, so nothing more may happen at all.
            self._screen.show(str(problem))
            self.give_up()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Write(frame):
                self._write(frame)
            case WriteDown(entry):
                self._parts.memory.write_down(entry)
            case HandToRadio(sms):
                self._hand_to_radio(sms)
            case TakeFromRadio(ref):
                self._carry_out(self._parts.phone.radio_gave_back(ref, in_time=self._took(ref)))
            case Say(words):
                self._screen.show(words)
            case _:
                assert_never(effect)

    def _write(self, frame: PhoneFrame) -> None:
        if self._line is None or not self._line.is_up:
            self._parts.phone.not_written(frame)
            return
        self._screen.went(frame)
        self._line.say(encode(frame))

    def _hand_to_radio(self, sms: SendSms) -> None:
        sending = Deferred.fromCoroutine(self._send(sms))
        sending.addErrback(lambda reason: self._log.failure("The radio broke", reason))
        if isinstance(sms.ref, str) and not sending.called:
            self._sending[sms.ref] = sending

    def _took(self, ref: str) -> bool:
        """Whether the radio had not begun with it: one that had goes on in spite of the cancel."""
        sending = self._sending.get(ref)
        if sending is not None:
            sending.cancel()
        return sending is not None and sending.called

    async def _send(self, sms: SendSms) -> None:
        error = None
        try:
            await self._parts.radio.send(sms.to, sms.body, sms.sim)
        except CancelledError:
            return
        except NotSent as refusal:
            error = str(refusal)
        finally:
            self._sending.pop(str(sms.ref), None)
        self._carry_out(self._parts.phone.radio_answered(sms, self._now(), error))

    def _new_id(self) -> str:
        return str(UUID(int=self._parts.random.getrandbits(128), version=4))

    def _now(self) -> int:
        """Unix milliseconds; a real reactor's clock is the wall clock."""
        return int(self._clock.seconds() * 1000)
