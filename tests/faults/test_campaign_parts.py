"""Parts of the fault campaign on which its verdict rests: the fuse, the journal's clock, the table,
and that a seed is a schedule."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from faults import plans
from faults.failing import Fuse
from faults.failpoints import all_points
from faults.journal import OK, UNKNOWN, Journal
from faults.table import OVER_SPOILT_ROADS, UNDER_RESEND, WHERE_NOBODY_DIES, Line, Result, markdown
from faults.waiting import runs_out


def fuse(tmp_path: Path, orders: str) -> Fuse:
    path = tmp_path / "orders"
    path.write_text(orders)
    lit = Fuse(path)
    lit.light()
    return lit


def test_a_fuse_burns_at_the_ordered_point_and_time_only(tmp_path: Path) -> None:
    lit = fuse(tmp_path, "after:push 3")
    assert [lit.reach("after:push") for _ in range(2)] == [False, False]
    assert not lit.reach("before:push")
    assert lit.reach("after:push")


def test_a_fuse_that_was_never_lit_burns_nowhere(tmp_path: Path) -> None:
    unlit = Fuse(tmp_path / "orders")
    assert not any(unlit.reach(point.name) for point in all_points())


def test_only_what_was_asked_after_a_kill_ends_the_wait_for_it() -> None:
    journal = Journal()
    began = time.monotonic()
    journal.down()
    journal.end("webhook", OK, began - 1)  # it was on its way before
    journal.end("webhook", UNKNOWN, time.monotonic())
    assert not journal.serving.is_set()
    journal.end("webhook", OK, time.monotonic())
    assert journal.serving.is_set()
    assert len(journal.now.restarts) == 1


def test_an_orderly_stop_is_not_timed_as_a_kill() -> None:
    journal = Journal()
    journal.down(killed=False)
    journal.end("webhook", OK, time.monotonic())
    assert journal.serving.is_set()
    assert journal.now.restarts == []


def test_what_a_round_allows_is_no_breach_there_and_one_elsewhere() -> None:
    counts = Counter({"sent twice by a plain phone": 1})
    assert Line("a", counts).breaches == ["sent twice by a plain phone"]
    assert Line("a", counts, UNDER_RESEND).breaches == []
    assert Line("a", counts, OVER_SPOILT_ROADS).breaches == []
    two = Counter({"sent by two phones": 1})
    assert Line("a", two, OVER_SPOILT_ROADS).breaches == ["sent by two phones"]


def test_what_a_round_forbids_is_a_breach_there_only() -> None:
    counts = Counter({"given up, not sent": 1})
    assert Line("a", counts).breaches == []
    assert Line("a", counts, forbidden=WHERE_NOBODY_DIES).breaches == ["given up, not sent"]


def test_nothing_allows_a_ledger_phone_to_send_twice() -> None:
    counts = Counter({"sent twice by a ledger phone": 1})
    assert Line("a", counts, UNDER_RESEND + OVER_SPOILT_ROADS).breaches != []


def test_a_campaign_that_missed_a_fail_point_has_not_passed() -> None:
    result = Result([Line("a", Counter())], Counter({"after:push": 1}), {"after:push": 2})
    assert result.faults == ["after:push reached 1 of 2 times"]
    assert "Not passed: after:push reached 1 of 2 times." in markdown(result, [])


def test_a_campaign_without_a_fault_says_so() -> None:
    result = Result([Line("a", Counter(lost=0), restarts=[1.5])])
    assert "Passed." in (page := markdown(result, [("kernel", "Linux")]))
    assert "| lost | 0 | 0 |" in page
    assert "| kernel | Linux |" in page


def test_what_was_allowed_is_shown_apart_from_what_was_not() -> None:
    counts = Counter({"sent twice by a plain phone": 3})
    page = markdown(Result([Line("a", counts, UNDER_RESEND)]), [])
    assert "| sent twice by a plain phone | 0 | 0 |" in page
    assert "| sent twice by a plain phone, where the contract allows it | 3 |  |" in page


def names(seed: str) -> list[list[str]]:
    rounds = plans.on_disk(plans.Wanted(seed, kills=60, times=2), Result())
    return [[name for name, _ in plan.strikes] for plan in rounds]


def test_a_seed_is_a_schedule() -> None:
    assert names("1") == names("1")
    assert names("1") != names("2")


def test_the_long_run_has_every_fail_point_as_often_as_asked() -> None:
    struck = Counter(name for round_ in names("1") for name in round_)
    assert {f"kill {point.name}": 2 for point in all_points()} == {
        name: times for name, times in struck.items() if ":" in name
    }
    assert struck["kill -9"] == 60


@pytest.mark.parametrize(
    ("lefts", "out"),
    [
        ([0], True),
        ([3, 2, 1, 0], True),
        ([3, 4, 2, 0], False),  # more than before, when no time was left for it
        ([2, 1, 1, 1, 0], False),
    ],
)
def test_what_becomes_less_is_waited_for_and_what_stands_still_is_not(
    lefts: list[int], out: bool
) -> None:
    following = iter(lefts)

    async def left() -> int:
        return next(following)

    assert asyncio.run(runs_out(left, within=0)) is out
