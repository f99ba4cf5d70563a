"""A command says in one decorator what it is called, what it takes and what may be said with it.

    @command("ticket fail", "ID", options=[ORG])
    async def fail(desk, ticket_id): ...

The help is made of that, and of the docstring's first line.
"""

from __future__ import annotations

import getopt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.python import usage

from smsd.options import Options

Act = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Option:
    """Something that may be said: a flag where ``default`` is False, else with a value."""

    name: str
    help: str
    default: str | bool | None = None


@dataclass(frozen=True)
class Command:
    """One command; ``takes`` are the words behind its name. On bare ground it gets a `Ground`
    instead of a `Desk`."""

    name: str
    takes: tuple[str, ...]
    options: tuple[Option, ...]
    act: Act
    bare: bool = False

    @property
    def told(self) -> str:
        """What it does, as a sentence without its full stop."""
        return (self.act.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def synopsis(self) -> str:
        return " ".join([self.name, *self.takes])

    def parsed(self, argv: Sequence[str]) -> RepairOptions:
        """Its own options and all settings; ends the process where they cannot be used."""
        options: RepairOptions = self._kind()()
        options.parseOptions(argv)
        return options

    def _kind(self) -> type[RepairOptions]:
        own = [option for option in self.options if option.default is not False]
        flags = [option for option in self.options if option.default is False]
        return type(
            "CommandOptions",
            (RepairOptions,),
            {
                "takes": self.takes,
                "synopsis": f"Usage: smsd {self.synopsis} [options]\n\n{self.told}.",
                "optParameters": [[o.name, None, o.default, o.help] for o in own],
                "optFlags": [[o.name, None, o.help] for o in flags],
            },
        )


class RepairOptions(Options):
    """The settings, what one command takes, and what all of them do."""

    takes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    opening = "smsd did nothing:"
    optFlags = [  # noqa: RUF012 - Twisted's own way to declare them
        ["json", None, "Answer in JSON, for programs."],
        ["yes", "y", "Do not ask whether it is meant."],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand before, between and behind the words."""
        super().parseOptions(self._in_order(list(options or ())))

    def _in_order(self, argv: list[str]) -> list[str]:
        try:
            said, words = getopt.gnu_getopt(argv, self.shortOpt, self.longOpt)
        except getopt.error:
            return argv  # to be told of by whoever parses it
        return [*(f"{n}={v}" if v else n for n, v in said), "--", *words]

    def parseArgs(self, *words: str) -> None:
        if len(words) != len(self.takes):
            wanted = " ".join(self.takes) or "nothing"
            raise usage.UsageError(f"wanted {wanted} behind the command, not {' '.join(words)!r}")
        self.words = words


def command(
    name: str, *takes: str, options: Sequence[Option] = (), bare: bool = False
) -> Callable[[Act], Command]:
    """Make a `Command` of the function below; it gets a `Desk` (or `Ground`) and the words."""

    def declared(act: Act) -> Command:
        return Command(name, takes, tuple(options), act, bare)

    return declared


def asked(options: RepairOptions) -> dict[str, Any]:
    """The options of a command by name, without the settings' origins."""
    return dict(options.items())
