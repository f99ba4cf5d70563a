"""All commands of an operator, and how one of them is carried out.

``opening`` lends the database: through the Postgres of a gateway that runs, or, where none does,
through one that is started for as long as the command takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from smsd.domain.errors import Problem
from smsd.opening import lent
from smsd.repair import backup, erasing, limits, orgs, restoring, tickets, upgrade
from smsd.repair.declared import Command, RepairOptions, asked
from smsd.repair.desk import Desk
from smsd.repair.endings import Ended, Interrupted
from smsd.repair.ground import Ground
from smsd.repair.terminal import Terminal
from smsd.store import overview
from smsd.store.migrate import migrations

COMMANDS: tuple[Command, ...] = (
    orgs.list_orgs,
    orgs.show,
    orgs.create,
    orgs.rotate,
    orgs.unlock,
    orgs.close,
    limits.limit,
    erasing.delete,
    erasing.export,
    erasing.forget,
    tickets.phones,
    tickets.tickets,
    tickets.requeue,
    tickets.fail,
    erasing.prune,
    backup.backup,
    restoring.restore,
    upgrade.upgrade,
)


def find(argv: Sequence[str]) -> tuple[Command, Sequence[str]] | None:
    """The command that these words begin with, and the words behind its name."""
    for each in COMMANDS:
        name = each.name.split()
        if list(argv[: len(name)]) == name:
            return each, argv[len(name) :]
    return None


def usage(noun: str) -> str:
    """What can be done with a noun."""
    told = [each for each in COMMANDS if each.name.split()[0] == noun]
    width = max(len(each.synopsis) for each in told)
    lines = [f"  smsd {each.synopsis:<{width}}  {each.told}\n" for each in told]
    return "Usage:\n" + "".join(lines)


def carry_out(command: Command, options: RepairOptions, reactor: Any) -> Deferred[None]:
    """Do it; ends with `SystemExit` where it cannot be done. A Ctrl-C ends it, and waits until
    what was begun is put away."""
    doing = Deferred.fromCoroutine(_told(command, options, reactor))
    put_away: Deferred[None] = Deferred()

    def end() -> Deferred[None]:
        doing.cancel()
        return put_away

    def ended(result: Failure | None) -> Failure | None:
        put_away.callback(None)
        return result

    reactor.addSystemEventTrigger("before", "shutdown", end)
    return doing.addBoth(ended)


async def _told(command: Command, options: RepairOptions, reactor: Any) -> None:
    terminal = Terminal(reactor.seconds, json=bool(options["json"]), yes=bool(options["yes"]))
    try:
        await _done(command, options, reactor, terminal)
    except Ended as ended:
        terminal.tell(f"smsd: {ended}")
        raise SystemExit(ended.code) from None
    except (Problem, RuntimeError) as error:  # the database, or its files
        terminal.tell(f"smsd: {error}")
        raise SystemExit(Ended.code) from None
    except CancelledError:
        raise SystemExit(Interrupted.code) from None


async def _done(command: Command, options: RepairOptions, reactor: Any, terminal: Terminal) -> None:
    settings = options.settings
    async with AsyncExitStack() as stack:
        if command.bare:
            ground = Ground(reactor, stack, terminal, settings, asked(options))
            await command.act(ground, *options.words)
            return
        database, home = await lent(settings, reactor, stack)
        known = max(migration.version for migration in migrations())
        if (version := await overview.schema(database)) != known:
            raise Ended(
                f"The database is at version {version}, this smsd works with version {known}: "
                "start the gateway of the same version once."
            )
        desk = Desk(reactor, database, terminal, settings, home, asked(options))
        await command.act(desk, *options.words)
