"""A name for each request, in its answer and in what the log says of it: ``X-Request-Id``.

A caller's own is kept, so that one name leads through all the programs that a request passes. Any
other is a word of this process and a number: nobody has to look for chance at each request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import count

HEADER = "X-Request-Id"

#: What a caller's may look like. It is written into logs, so nothing in it may pass for more.
SHAPE = r"[A-Za-z0-9._~:/+=@-]{1,128}"

_shaped = re.compile(SHAPE.encode()).fullmatch


class RequestIds:
    """``chance`` gives a number from 0 to 1, once."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._word = b"%08x" % int(chance() * 0xFFFFFFFF)
        self._numbers = count(1)

    def of(self, said: Sequence[bytes]) -> bytes:
        """The caller's, where it sent just one and that is well-formed; else a new one."""
        if len(said) == 1 and _shaped(said[0]):
            return said[0]
        return self.new()

    def new(self) -> bytes:
        """One that no other request of this process has."""
        return b"%b-%x" % (self._word, next(self._numbers))
