"""The life of tickets in every order that chance makes up: the model's runs, and their seeds.

Ordinarily a few seconds' worth. ``MODEL_RUNS=N`` makes it N examples of 50 steps each;
``MODEL_SEED=S`` replays the run of a seed that was printed, and looks for the shortest
example of what it finds.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator

import pytest
import pytest_twisted
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from life_model import TicketLife
from life_model_bench import Bench
from nodes import RecordingPhone, made_org, sql
from twisted.internet.defer import Deferred

RUNS = int(os.environ.get("MODEL_RUNS", "0"))
SEED = os.environ.get("MODEL_SEED")
SHRINK = "MODEL_SHRINK" in os.environ
#: To find the shortest example of a fault takes minutes: only where one is looked for.
PHASES = [Phase.generate] + [Phase.shrink] * SHRINK
#: Examples of one run, for each has a seed of its own.
CHUNK = 100


def runs() -> list[tuple[int, int]]:
    """Seeds, and how many examples each is good for."""
    if SEED is not None:
        return [(int(SEED), RUNS or CHUNK)]
    if RUNS:
        sizes = [CHUNK] * (RUNS // CHUNK) + [RUNS % CHUNK] * bool(RUNS % CHUNK)
        return [(secrets.randbelow(1 << 32), size) for size in sizes]
    return [(1, 15), (secrets.randbelow(1 << 32), 15)]


RUN = runs()


@pytest.fixture
def bench(conninfo: str) -> Iterator[Bench]:
    with Bench(conninfo).listening() as bench:
        yield bench


@pytest.mark.parametrize(("number", "examples"), RUN, ids=range(len(RUN)))
def test_no_ticket_is_lost_or_stuck_or_sent_twice(bench, number, examples):
    life = type("Life", (TicketLife,), {"bench": bench})
    began = time.monotonic()
    try:
        run_state_machine_as_test(
            seed(number)(life),
            settings=settings(
                max_examples=examples,
                stateful_step_count=50,
                deadline=None,
                database=None,
                phases=PHASES,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        spent = time.monotonic() - began
        print(
            f"MODEL_SEED={number} MODEL_RUNS={examples}: {bench.examples} examples,"
            f" {bench.steps} steps in {spent:.1f} s\n{dict(sorted(bench.tally.items()))}"
        )


# -- what the model has found ----------------------------------------------------------------


async def given_up(node, database) -> None:
    """Nobody answers for as long as may be, and the setting ``unconfirmed`` is ``resend``."""
    node.upkeep.unconfirmed = "resend"
    await sql(database, "UPDATE messages SET handed_at = handed_at - interval '11 min'")
    await node.upkeep._end_late()
    await node.settled()


@pytest_twisted.ensureDeferred
async def test_a_push_that_had_its_receipt_and_is_to_be_resent_counts_once(node, database):
    await made_org(database)
    await node.send()
    for _ in range(2):
        phone = await node.come()
        phone.visit.receipt(phone.mark)
        await node.leave(phone)
        await given_up(node, database)
    assert await sql(database, "SELECT status, receipted FROM messages") == [("queued", 2)]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_stays_and_never_answers_is_not_asked_for_ever(node, database):
    """After five pushes that had a receipt and no result."""
    await made_org(database)
    await node.send()
    phone = await node.come()
    for _ in range(8):
        phone.visit.receipt(phone.mark)
        await given_up(node, database)
    assert phone.pushed == [1] * 5
    assert await sql(database, "SELECT status, error FROM messages") == [
        ("failed", "undeliverable")
    ]


@pytest_twisted.ensureDeferred
async def test_a_phone_does_not_ask_without_end_for_what_is_still_being_stored(node, database):
    await made_org(database)
    with node.database.held("append_messages") as gate:
        sending = Deferred.fromCoroutine(node.send())
        await gate.reached
        phone = RecordingPhone()
        coming = Deferred.fromCoroutine(node.come(phone))
        for _ in range(200):
            await sql(database, "SELECT 1")
        asked = node.database.run_names["claim_tickets"]
    await sending
    await coming
    await node.settled()
    assert phone.pushed == [1]
    assert asked == 0
