"""Lines that the user types, read as they come.

Twisted's own ``StandardIO`` is not used: it makes the descriptor non-blocking, and on a terminal
that is the very descriptor which `print` writes to, which then fails when the terminal is slow.
A read after the reactor has said "readable" does not block anyway.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_DONE

LONGEST_LINE = 1024 * 1024


class Keyboard(FileDescriptor):
    """Calls ``typed`` with each line until the input ends; the phone lives on without it."""

    def __init__(self, reactor: Any, fileno: int, typed: Callable[[str], None]) -> None:
        super().__init__(reactor)
        self._fileno = fileno
        self._typed = typed
        self._rest = b""

    def open(self) -> None:
        self.startReading()  # type: ignore[no-untyped-call]

    def fileno(self) -> int:
        return self._fileno

    def doRead(self) -> Exception | None:
        data = os.read(self._fileno, 65536)
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        for line in lines:
            self._typed(line.decode("utf-8", "replace"))
        return None if data else CONNECTION_DONE
