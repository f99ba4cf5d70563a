"""The store and the gateway with their messages in partitions, by hash of the org.

Who has so many messages that one table will not do can split it without a change in any statement:
every key begins with the org. So the same tests are run once more, on a template whose messages
are partitioned. Left out are those that know tables and indexes by their names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from databases import PARTITIONED

from smsd.store.database import Database
from smsd.store.statements import Statement

_TESTS = Path(__file__).parents[1]
_STORE = ("messages", "statements", "ids", "batch*", "orgs", "phones", "plans_at_size")
_BY_NAME = (
    "test_the_schema_is_the_one_on_record",
    "test_what_breaks_a_rule_of_the_schema_is_refused_and_the_rule_is_named",
    "test_every_rule_of_the_schema_is_broken_above",
)


@pytest.mark.skipif(PARTITIONED not in os.environ, reason="run by the test below")
@pytest_twisted.ensureDeferred
async def test_the_messages_of_this_run_lie_in_partitions(database: Database) -> None:
    kind = "SELECT relkind::text FROM pg_class WHERE oid = 'messages'::regclass"
    assert await database.run(Statement("kind", kind)) == [("p",)]


@pytest.mark.long
@pytest.mark.skipif(PARTITIONED in os.environ, reason="this is that run")
def test_store_and_gateway_do_not_notice_that_messages_are_partitioned() -> None:
    store = [path for name in _STORE for path in (_TESTS / "store").glob(f"test_{name}.py")]
    chosen = [__file__, _TESTS / "gateway", *store]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *chosen, "-k", f"not ({' or '.join(_BY_NAME)})"],
        cwd=_TESTS.parent,
        env={**os.environ, PARTITIONED: "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
