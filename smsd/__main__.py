"""The command ``smsd``: run the gateway, be a phone, show what can be set and what is, repair.

``smsd run`` builds the service and runs the reactor by itself, so that it works however and
wherever the package is installed; twistd has to find our plugin first.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from twisted.application.service import MultiService
from twisted.logger import Logger

from smsd import __version__, logs
from smsd.domain.commented import commented
from smsd.domain.settings import TABLE, Settings
from smsd.options import Options
from smsd.tap import Start

USAGE = """\
Usage: smsd COMMAND [options]

  run       run the gateway in the foreground
  phone     be a phone, to try the gateway with
  check     show every setting, where it came from, and whether the database answers
  settings  print a TOML file that explains every setting, to start your own from

  org       see tenants, make one, let it in or lock it out, delete or export it
  phones    list the phones on line
  tickets   list the tickets that have not ended, and why
  ticket    queue one again, or end it
  prune     delete messages that are old

  backup    write everything into a file
  restore   fill an empty database from such a file
  upgrade   bring a private Postgres to a newer version

  smsd COMMAND --help   what a command takes
  smsd --version        which smsd this is
"""

_log = Logger("smsd")

# The reactor, and all that imports it, is imported by the command that needs it and not before:
# `smsd --help` and a misspelt setting are answered at once.


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns, or exits with, the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else list(argv)) or [""]
    if command in ("--help", "-h"):
        return _say(USAGE)
    if command == "--version":
        return _say(f"smsd {__version__}\n")
    if command not in _COMMANDS:
        sys.stderr.write(USAGE)
        return 2
    try:
        return _COMMANDS[command](rest)
    except KeyboardInterrupt:  # while it was still being imported
        return 130


def _run(argv: Sequence[str]) -> int:
    options = _options("run", argv)
    settings = options.settings
    logs.begin(logs.Wanted(settings.log_level, settings.log_format))
    from twisted.internet import reactor

    from smsd.assembly import assemble

    start = Start(reactor)

    def assembled() -> MultiService:
        service = start.service(settings, assemble)
        start.obey_hangups(service, options)
        return service

    return run(start, assembled)


def run(start: Start, assembled: Callable[[], MultiService]) -> int:
    """Runs the reactor around the service until a signal or a failed start ends it."""
    start.reactor.callWhenRunning(_begin, start, assembled)
    start.reactor.run()
    return start.code


def _begin(start: Start, assembled: Callable[[], MultiService]) -> None:
    try:
        service = assembled()
        start.reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        service.privilegedStartService()
        service.startService()
    except Exception as error:
        _log.failure("the gateway could not be put together")
        start.failed(f"cannot start: {error}")


def _phone(argv: Sequence[str]) -> int:
    from twisted.internet.task import react

    from smsd.handset.command import main as phone

    react(lambda reactor: phone(argv, reactor))


def _check(argv: Sequence[str]) -> int:
    settings = _options("check", argv).settings
    logs.begin(logs.Wanted("warn", settings.log_format))
    from twisted.internet.task import react

    from smsd.opening import check_database

    react(lambda reactor: check(settings, check_database(settings, reactor)))


def _repair(noun: str, argv: Sequence[str]) -> int:
    from smsd.repair.commands import carry_out, find, usage

    if (found := find([noun, *argv])) is None:
        asked = list(argv) in (["--help"], ["-h"])
        (sys.stdout if asked else sys.stderr).write(usage(noun))
        raise SystemExit(0 if asked else 2)
    command, rest = found
    options = command.parsed(rest)
    logs.begin(logs.Wanted("error", options.settings.log_format))
    from twisted.internet.task import react

    react(lambda reactor: carry_out(command, options, reactor))


def _explain(argv: Sequence[str]) -> int:
    if argv:
        sys.stderr.write("Usage: smsd settings > smsd.toml\n")
        return 0 if argv in (["--help"], ["-h"]) else 2
    return _say(commented())


async def check(settings: Settings, answer: Awaitable[str]) -> None:
    """Shows what would be used; exits with 1 where the database does not answer."""
    _say(listing(settings))
    try:
        _say(f"\n{await answer}\n")
    except RuntimeError as error:
        _say(f"\nThe database does not answer: {error}\n")
        raise SystemExit(1) from None


def listing(settings: Settings) -> str:
    """A line for each setting: its value and where that came from, secrets hidden."""
    shown = {name: row.shown(getattr(settings, name)) for name, row in TABLE.items()}
    width = max(len(text) for text in shown.values())
    return "".join(
        f"{name:<28} {text:<{min(width, 40)}}  {settings.origin(name)}\n"
        for name, text in shown.items()
    )


def _options(command: str, argv: Sequence[str]) -> Options:
    options = Options()
    options.synopsis = f"Usage: smsd {command} [options]"
    options.parseOptions(argv)
    return options


def _say(text: str) -> int:
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0


_NOUNS = ("org", "phones", "tickets", "ticket", "prune", "backup", "restore", "upgrade")
_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": _run,
    "phone": _phone,
    "check": _check,
    "settings": _explain,
    **{noun: partial(_repair, noun) for noun in _NOUNS},
}

if __name__ == "__main__":
    sys.exit(main())
