"""The cut of the fault campaign that every test run makes: a few deaths of each kind, and zeros.

Another seed each time; it is shown, and ``FAULTS_SEED`` makes the same schedule again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from faults import plans
from faults.campaign import Campaign
from faults.failpoints import HARMLESS, STATEMENTS, WIRE, all_points, unnamed
from faults.field import DurablePostgres, Field
from faults.table import Result

pytestmark = pytest.mark.whole

#: Texts a second: a part of the long run's, for a machine that does other things too.
RATE = 150
#: Seconds of strikes; to set the field up, to heal and to check takes as long again at most.
STRIKES = 18.0


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="smsd-faults-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def test_every_statement_is_a_fail_point_or_says_why_it_is_none() -> None:
    assert unnamed() == set()
    assert not {what.partition(".")[0] for what in STATEMENTS} & set(HARMLESS)


def test_there_are_fail_points_on_both_sides_of_everything() -> None:
    names = {point.name for point in all_points()}
    assert names == {
        f"{at}:{what}" for at in ("before", "after") for what in {**STATEMENTS, **WIRE}
    }
    assert len(names) >= 16


def test_nothing_is_lost_or_stuck_or_sent_twice_whatever_dies(home: Path) -> None:
    seed = os.environ.get("FAULTS_SEED") or secrets.token_hex(4)
    print(f"FAULTS_SEED={seed}")
    result = Result()
    rounds = plans.cut(seed, result, within=STRIKES)
    (home / "postgres").mkdir()

    async def run() -> None:
        field = Field(home, DurablePostgres(home / "postgres"), Random(seed), rate=RATE)
        await Campaign(field, result, seed, print).run(rounds)

    asyncio.run(run())
    assert result.notes == []
    (line,) = result.lines
    assert line.breaches == [], line.examples
    assert result.deaths.total() >= 1
    assert len(line.restarts) >= 3
    assert line.counts["texts acknowledged"] > 100
    assert line.counts["tickets sent"] > 10
    assert line.counts["events heard"] >= line.counts["events"] > 100
    assert line.counts["posts taken"] > 0
    assert line.counts["posts refused"] > 0
    assert line.counts["tickets expired"] > 0
    assert line.counts["delivery reports"] > 0
    assert line.counts["tickets opted out"] > 0
