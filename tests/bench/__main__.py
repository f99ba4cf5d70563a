"""``python -m bench``: the gateway, its peer and the limit side by side; see docs/performance.

Writes a page and a picture where it is told to.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import load
from bench.page import markdown
from bench.plan import SCENARIOS, Bench
from bench.plot import draw
from bench.postgres import Postgres
from bench.scenarios import Asked
from faults.machine import described


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add = parser.add_argument
    add("--only", default=",".join(SCENARIOS), help="some of " + ", ".join(SCENARIOS))
    add("--rounds", type=int, default=3, help="of which the medians are taken (%(default)s)")
    add("--seconds", type=float, default=5, help="of each load (%(default)s)")
    add("--phones", type=int, default=10_000, help="that come on line (%(default)s)")
    add("--rate", type=float, default=100, help="sends a second for the latency (%(default)s)")
    add("--rows", default="10000,100000,1000000,10000000", help="sizes to grow to (%(default)s)")
    add("--report", type=Path, help="write the page to this file, and the picture beside it")
    add("--home", type=Path, help="on which disk to measure (a temporary directory)")
    return parser.parse_args(argv)


def run(asked: argparse.Namespace, home: Path) -> str:
    """All that was asked for. What is measured is written down at once: it took long."""
    (home / "postgres").mkdir()
    postgres = Postgres(home / "postgres")
    try:
        ((version,),) = postgres.ask("SHOW server_version", database="postgres")
        measures = Asked(asked.seconds, asked.phones, asked.rate)
        rows = [int(each) for each in asked.rows.split(",")]
        bench = Bench(measures, asked.rounds, rows, postgres, home, say)
        for name in asked.only.split(","):
            SCENARIOS[name](bench)
            page = write(bench, version, asked.report)
    finally:
        postgres.close()
    return page


def say(text: str) -> None:
    """With the time, so that whoever watches knows how far it is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def write(bench: Bench, version: str, report: Path | None) -> str:
    """The page, which is also put where it was asked for."""
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
    picture = report.with_suffix(".svg") if report else None
    drawn = picture.name if picture and draw(bench.results, picture) else ""
    page = markdown(bench.results, described(version, _command()), bench.rounds, drawn)
    if report:
        report.write_text(page)
    return page


def _command() -> str:
    """What makes such a page again; where it goes to says nothing about it."""
    said = list(sys.argv[1:])
    while "--report" in said:
        at = said.index("--report")
        del said[at : at + 2]
    return f'make bench ARGS="{" ".join(said)}"' if said else "make bench"


def _raise_limit() -> None:
    """Both sides hold a file for each phone, and take their limit over from here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    asked = options()
    if unknown := set(asked.only.split(",")) - set(SCENARIOS):
        print(f"--only takes {', '.join(SCENARIOS)}; not {', '.join(sorted(unknown))}")
        return 2
    load.wanted()
    _raise_limit()
    # Asked to end, end in order: processes are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = Path(tempfile.mkdtemp(prefix="smsd-bench-", dir=asked.home))
    home.chmod(0o711)
    try:
        print(run(asked, home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
