"""``python -m faults``: the campaign that shows that nothing is lost, stuck or sent twice.

The exit code is 1 where a count that must be 0 is not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from faults import plans, sabotage
from faults.campaign import Campaign, Plan
from faults.field import DurablePostgres, Field
from faults.machine import described
from faults.postgres import Postgres
from faults.table import Result, markdown


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    add = parser.add_argument
    add("--seed", default=secrets.token_hex(4), help="the same seed makes the same schedule")
    add("--only", default=",".join(plans.PARTS), help="some of " + ", ".join(plans.PARTS))
    add("--kills", type=int, default=200, help="kill -9 at random moments (%(default)s)")
    add("--times", type=int, default=20, help="deaths at each fail-point (%(default)s)")
    add("--rate", type=float, default=300, help="texts a second (%(default)s)")
    add("--report", type=Path, help="write the table to this file, in Markdown")
    add("--home", type=Path, help="where the data is kept meanwhile (a temporary directory)")
    known = [*sabotage.GATEWAY, *sabotage.PHONES]
    add("--sabotage", choices=known, default="", help="break the contract; the campaign must fail")
    return parser.parse_args(argv)


async def run(asked: argparse.Namespace, home: Path) -> tuple[Result, str]:
    """The campaign's result, and which Postgres it was."""
    wanted = plans.Wanted(asked.seed, asked.only.split(","), asked.kills, asked.times)
    result = Result()
    version = await _rounds(
        asked, home / "durable", DurablePostgres, result, plans.on_disk(wanted, result)
    )
    small = await _rounds(asked, home / "small", Postgres, result, plans.on_small_disk(wanted))
    return result, version or small


async def _rounds(
    asked: argparse.Namespace, home: Path, kind: Any, result: Result, rounds: Sequence[Plan]
) -> str:
    """Rounds on a field of their own."""
    if not rounds:
        return ""
    (home / "postgres").mkdir(parents=True)
    postgres = await asyncio.to_thread(kind, home / "postgres")
    ((version,),) = postgres.ask("SELECT current_setting('server_version')")
    field = Field(home, postgres, Random(asked.seed), rate=asked.rate, sabotage=asked.sabotage)
    await Campaign(field, result, asked.seed, say).run(rounds)
    return str(version)


def say(text: str) -> None:
    """With the time, so that whoever watches knows how far it is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def _command(asked: argparse.Namespace) -> str:
    """What makes the same schedule again."""
    flags = [f"--seed {asked.seed}", f"--kills {asked.kills}", f"--times {asked.times}"]
    flags += [f"--rate {asked.rate:g}"]
    flags += [f"--only {asked.only}"] if asked.only != ",".join(plans.PARTS) else []
    flags += [f"--sabotage {asked.sabotage}"] if asked.sabotage else []
    return f'make faults ARGS="{" ".join(flags)}"'


def main() -> int:
    asked = options()
    if unknown := set(asked.only.split(",")) - set(plans.PARTS):
        print(f"--only takes {', '.join(plans.PARTS)}; not {', '.join(sorted(unknown))}")
        return 2
    # asyncio warns of phones that speak into a torn connection, which is what they are for.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    say(f"seed {asked.seed}")
    home = Path(tempfile.mkdtemp(prefix="smsd-faults-", dir=asked.home))
    home.chmod(0o711)
    result, version = asyncio.run(run(asked, home))
    page = markdown(result, described(version, _command(asked)))
    print(page)
    if asked.report:
        asked.report.write_text(page)
    if result.faults:
        say(f"The gateway's log is in {home}.")
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
