"""A gateway that dies where it is told: ``python -m faults.failing --orders FILE -- run ...``

The gateway's own code knows nothing of this: before its ``main`` is called, some methods of its
classes are wrapped. On SIGUSR2 the process reads from FILE at which fail-point (and when it is
reached for which time) it is to send itself SIGKILL. Also ``--sabotage NAME``, for showing that
the campaign notices (`faults.sabotage`), and ``--hurry N``: chores come N times as often.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults import sabotage

#: From one attempt at a post to the next, and how long each may take. Seconds.
POSTED_AGAIN, TOO_LATE = 0.05, 2.0


class Fuse:
    """Burns down to the one fail-point that was ordered."""

    def __init__(self, orders: Path) -> None:
        self._orders = orders
        self._point = ""
        self._left = 0

    def light(self, *_: object) -> None:
        """Read the orders: ``after:push 3``."""
        point, times = self._orders.read_text().split()
        self._point, self._left = point, int(times)

    def reach(self, point: str) -> bool:
        """The gateway is there; whether it dies now (it may have something to finish first)."""
        if point == self._point:
            self._left -= 1
            return self._left <= 0
        return False

    def burn(self, point: str) -> None:
        """Die, if this is the point."""
        if self.reach(point):
            die()


def die() -> None:
    """As when the kernel is short of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def flushed(transport: Any) -> None:
    """What was written reaches the kernel, which delivers it also for the dead."""
    while transport.dataBuffer or transport._tempDataBuffer:
        before = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        if transport.doWrite() is not None:
            return
        if before == len(transport.dataBuffer) - transport.offset + transport._tempDataLen:
            return


def install(fuse: Fuse) -> None:
    """Wrap what stands at each fail-point."""
    _statements(fuse)
    _frames(fuse)
    _answers(fuse)


def _statements(fuse: Fuse) -> None:
    from smsd.store.connection import Connection

    fetch = Connection.fetch

    async def watched(self: Any, statement: Any, parameters: Any = None, **how: Any) -> Any:
        name = _statement(statement.name, parameters)
        fuse.burn(f"before:{name}")
        rows = await fetch(self, statement, parameters, **how)
        fuse.burn(f"after:{name}")
        return rows

    Connection.fetch = watched  # type: ignore[method-assign]


def _statement(name: str, parameters: Any) -> str:
    if name != "append_messages":
        return name
    inbound = '"direction":"in"' in parameters["rows"][:2000]
    return f"{name}.{'in' if inbound else 'out'}"


def _frames(fuse: Fuse) -> None:
    from smsd.phone.link import Link

    push, send, pong = Link.push, Link.send, Link.onPong

    def watched_push(self: Any, tickets: Any, mark: int) -> None:
        _around(fuse, "push", lambda: push(self, tickets, mark), lambda: self.transport)

    def watched_send(self: Any, frame: Any) -> None:
        kind = {"InboundAck": "inbound_ack", "ResultAck": "result_ack"}.get(type(frame).__name__)
        if kind is None:
            send(self, frame)
        else:
            _around(fuse, kind, lambda: send(self, frame), lambda: self.transport)

    def watched_pong(self: Any, payload: bytes) -> None:
        fuse.burn("before:receipt")
        pong(self, payload)
        fuse.burn("after:receipt")

    Link.push, Link.send, Link.onPong = watched_push, watched_send, watched_pong  # type: ignore[method-assign]


def _answers(fuse: Fuse) -> None:
    from smsd.rest.request import Request

    deliver = Request.deliver

    def watched(self: Any, reply: Any) -> None:
        noun = self.path.split(b"/")[1].decode()
        if reply.status != 200 or noun not in ("webhook", "send") or self.gone:
            deliver(self, reply)
            return
        transport = self.channel.transport
        _around(fuse, f"answer.{noun}", lambda: deliver(self, reply), lambda: transport)

    Request.deliver = watched  # type: ignore[method-assign]


def _around(fuse: Fuse, name: str, write: Callable[[], None], transport: Callable[[], Any]) -> None:
    fuse.burn(f"before:{name}")
    write()
    if fuse.reach(f"after:{name}"):
        flushed(transport())
        die()


def hurry(factor: float) -> None:
    """Chores come so many times as often."""
    from smsd.gateway.upkeep import Upkeep

    every = Upkeep._every
    Upkeep._every = lambda self, seconds, *rest: every(self, seconds / factor, *rest)  # type: ignore[method-assign, assignment]


def hurry_posts() -> None:
    """What a hook's endpoint did not take comes again within a moment, and soon takes too long."""
    from smsd.gateway.upkeep import Upkeep
    from smsd.outward import courier, retries

    retries.PAUSES = (POSTED_AGAIN,) * len(retries.PAUSES)
    courier.LONGEST = TOO_LATE
    every = Upkeep._every

    def often(self: Any, seconds: float, what: str, chore: Any) -> None:
        every(self, POSTED_AGAIN if what == "posting to hooks" else seconds, what, chore)

    Upkeep._every = often  # type: ignore[method-assign]


def end_with_parent() -> None:
    """However the campaign ends, no gateway stays behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> int:
    """Become the gateway, with a fuse in it."""
    parser = argparse.ArgumentParser(prog="faults.failing")
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--hurry", type=float, default=1)
    parser.add_argument("--sabotage", choices=sorted(sabotage.GATEWAY))
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    end_with_parent()
    fuse = Fuse(asked.orders)
    install(fuse)
    hurry_posts()
    hurry(asked.hurry)
    if asked.sabotage:
        sabotage.GATEWAY[asked.sabotage]()
    signal.signal(signal.SIGUSR2, fuse.light)
    from smsd.__main__ import main as smsd

    return smsd(asked.command)


if __name__ == "__main__":
    sys.exit(main())
