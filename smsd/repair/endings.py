"""How a command ends that cannot do what it was asked: a sentence, and a code for scripts."""

from __future__ import annotations

from typing import ClassVar


class Ended(Exception):
    """It was not done. The message says why, and what to do."""

    code: ClassVar[int] = 1


class Misused(Ended):
    """The words of the command line make no sense."""

    code = 2


class NotThere(Ended):
    """There is no such org, ticket or file."""

    code = 3


class NotAllowed(Ended):
    """Not in this state, or not without a yes."""

    code = 4


class Interrupted(Ended):
    """Ctrl-C."""

    code = 130
