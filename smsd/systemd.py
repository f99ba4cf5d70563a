"""What systemd is told of this process, and the sockets that it holds for it.

sd_notify(3) is one datagram with a line for each fact; sd_listen_fds(3) is three variables, which
Twisted reads. Without systemd nothing is sent. What there is to tell is `smsd.assembly`'s.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: Seconds between two signs of life where no watchdog asks for them more often, between two looks
#: at how things are, and until a start that makes no sign has failed.
BEAT, LOOK, START_WITHIN = 15.0, 5.0, 60

Look = Callable[[], Awaitable[str]]


class Notices:
    """The way to systemd, if it asked for notices."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        watched = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        micros = environ.get("WATCHDOG_USEC", "") if watched else ""
        #: Within how many seconds it wants a sign of life, if at all.
        self.watchdog = int(micros) / 1e6 if micros.isdigit() and int(micros) else None

    @property
    def wanted(self) -> bool:
        return bool(self._address)

    def tell(self, *facts: str) -> None:
        """Send the facts, each ``NAME=value``. One that gets lost is not worth a failure."""
        if not self.wanted:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line, suppress(OSError):
            line.setblocking(False)
            line.sendto("\n".join(facts).encode(), self._address)


class Standing:
    """Keeps systemd informed of how the gateway is, from its start to its stop.

    The signs of life come from the reactor: one that is frozen makes none.
    """

    _log = Logger()

    def __init__(self, reactor: Any, notices: Notices) -> None:
        self._notices = notices
        self._words = ""
        self._starting = False
        self._life = LoopingCall(self._beat)
        self._look = LoopingCall(lambda: None)
        self._life.clock = self._look.clock = reactor

    def begin(self, words: str) -> None:
        """The start has begun; while signs of life come it may take its time."""
        self._starting = True
        self.say(words)
        watchdog = self._notices.watchdog
        self._turn(self._life, watchdog / 2 if watchdog else BEAT)

    def say(self, words: str) -> None:
        """How things are, for ``systemctl status``."""
        if words != self._words:
            self._words = words
            self._notices.tell(f"STATUS={words}")

    def ready(self, look: Look) -> None:
        """Requests are served. ``look`` says every now and then how things are."""
        self._starting = False
        self._notices.tell("READY=1")
        self._look.f = lambda: Deferred.fromCoroutine(self._say_how_it_is(look))
        self._turn(self._look, LOOK)

    def reloading(self, act: Callable[[], None]) -> None:
        """Do what a reload is."""
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notices.tell("RELOADING=1", f"MONOTONIC_USEC={micros}")
        try:
            act()
        finally:
            self._notices.tell("READY=1")

    def stopping(self, words: str) -> None:
        """The stop has begun; signs of life go on until `end`."""
        self._starting = False
        _stop(self._look)
        self._notices.tell("STOPPING=1")
        self.say(words)

    def end(self) -> None:
        """No more signs."""
        _stop(self._look)
        _stop(self._life)

    def _beat(self) -> None:
        facts = ["WATCHDOG=1"] if self._notices.watchdog else []
        if self._starting:
            facts.append(f"EXTEND_TIMEOUT_USEC={START_WITHIN * 1_000_000}")
        if facts:
            self._notices.tell(*facts)

    async def _say_how_it_is(self, look: Look) -> None:
        words = await look()
        if self._look.running:
            self.say(words)

    def _turn(self, loop: LoopingCall, seconds: float) -> None:
        if self._notices.wanted:
            ended = loop.start(seconds)
            ended.addErrback(lambda f: self._log.failure("systemd is told no more", f))


def _stop(loop: LoopingCall) -> None:
    if loop.running:
        loop.stop()


def sockets_held(reactor: Any) -> tuple[str, ...]:
    """The sockets that systemd listens on for us, as endpoints.

    Twisted has read the variables that tell of them, and has removed them, by the time that
    anybody could look; so its endpoint is asked, until there is no such socket.
    """
    held: list[str] = []
    with suppress(IndexError):
        for index in count():
            endpoint: Any = serverFromString(reactor, f"systemd:domain=INET:index={index}")
            held.append(f"systemd:domain={_domain(endpoint.fileno)}:index={index}")
    return tuple(held)


def _domain(descriptor: int) -> str:
    with socket.socket(fileno=os.dup(descriptor)) as held:
        return held.family.name.removeprefix("AF_")


def _address(named: str) -> str:
    """An abstract address is written with an @ in front, and begins with a NUL."""
    return f"\0{named[1:]}" if named.startswith("@") else named
