"""``smsd phone``: a phone on the command line, put together from its parts.

Whoever has a reactor runs it so::

    task.react(lambda reactor: main(sys.argv[2:], reactor))
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random, SystemRandom
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError

from smsd.domain.records import Sim
from smsd.handset.keyboard import Keyboard
from smsd.handset.ledger import Owner
from smsd.handset.ledger_file import Forgetful, LedgerFile, LedgerProblem, Memory
from smsd.handset.line import Address
from smsd.handset.link import Link, Parts
from smsd.handset.options import PhoneOptions
from smsd.handset.phone import Phone
from smsd.handset.radio import PretendedRadio
from smsd.handset.screen import HINT, Screen

__all__ = ["PhoneOptions", "main", "run"]


def main(argv: Sequence[str], reactor: Any) -> Deferred[None]:
    """The whole command. Fires when the phone has done its work (exit code 0), or fails with
    `SystemExit` and another exit code, as `twisted.internet.task.react` understands it."""
    return Deferred.fromCoroutine(_main(argv, reactor))


async def _main(argv: Sequence[str], reactor: Any) -> None:
    options = PhoneOptions()
    try:
        options.parseOptions(list(argv))  # type: ignore[no-untyped-call]
        code = await run(
            reactor, options, stdin=sys.stdin, stdout=sys.stdout, random=SystemRandom()
        )
    except (UsageError, LedgerProblem) as problem:
        print(f"smsd phone: {problem}", file=sys.stderr)  # noqa: T201
        code = 2
    if code:
        raise SystemExit(code)


async def run(
    reactor: Any,
    options: PhoneOptions,
    *,
    stdin: TextIO | None,
    stdout: TextIO,
    random: Random,
) -> int:
    """A phone from switching on to the exit code; raises `LedgerProblem` before it starts."""
    memory = _memory(options, int(reactor.seconds() * 1000))
    owner = _owner(options, memory.ledger.owner, random)
    memory.write_down(owner)
    parts = _parts(reactor, options, owner, memory, Screen(stdout), random)
    link = Link(reactor, _address(options, owner), parts)
    parts.screen.gone = link.give_up
    parts.screen.show(_greeting(options, owner))
    parts.screen.show(f"{HINT}; Ctrl-C switches the phone off")
    if stdin is not None:
        Keyboard(reactor, stdin.fileno(), link.typed).open()
    reactor.addSystemEventTrigger("before", "shutdown", link.switch_off)
    return await link.switch_on()


def _memory(options: PhoneOptions, now: int) -> Memory:
    return LedgerFile(options["ledger"], now) if options["ledger"] else Forgetful()


def _owner(options: PhoneOptions, before: Owner | None, random: Random) -> Owner:
    """Who this phone is: what the options say, else what it was before, else somebody new."""
    if before is None:
        new_device = f"{random.getrandbits(64):016x}" if options["ledger"] else None
        new_number = f"+1555010{random.randrange(10_000):04d}"
        before = Owner(org_id=options["org"], device_id=new_device, number=new_number)
    if before.org_id != options["org"]:
        raise LedgerProblem(
            f"The ledger {options['ledger']} belongs to org {before.org_id}; "
            f"take another file for org {options['org']}."
        )
    number, device_id = options["number"], options["device-id"]
    return Owner(
        org_id=before.org_id,
        device_id=before.device_id if device_id is None else device_id,
        number=before.number if number is None else number,
    )


def _parts(
    reactor: Any,
    options: PhoneOptions,
    owner: Owner,
    memory: Memory,
    screen: Screen,
    random: Random,
) -> Parts:
    sim = Sim(slot=options["slot"], number=owner.number or None, label="smsd phone")
    return Parts(
        sim=sim,
        phone=Phone(sim, memory.ledger),
        radio=PretendedRadio(reactor, delay=options["delay"], fail_every=options["fail-every"]),
        screen=screen,
        memory=memory,
        random=random,
    )


def _address(options: PhoneOptions, owner: Owner) -> Address:
    return Address(
        url=options["url"],
        org_id=owner.org_id,
        secret=options["secret"],
        device_id=owner.device_id,
        ledger=options["ledger"] is not None,
        key=options["key"],
    )


def _greeting(options: PhoneOptions, owner: Owner) -> str:
    device = f", device {owner.device_id}" if owner.device_id else ""
    number = owner.number or "of unknown number"
    return f"phone {number}{device}, org {owner.org_id}: calling {options['url']}"
