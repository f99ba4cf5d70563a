"""What all tests share: a real Postgres for those that touch data, time that stands still, and
no failure that goes unseen.

Nothing here pretends to be the store. A test's database is a copy of a migrated template, in a
private Postgres (our own code) that keeps its files in memory and is gone after the run.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from databases import FAST, PARTITIONED, conninfo_of, opened, partitioned
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from smsd.store.database import Database
from smsd.store.embedded import PrivatePostgres
from smsd.store.migrate import migrate
from smsd.store.statements import Statement

TEMPLATE = "template_smsd"

_numbers = count(1)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory in memory where there is room, which Postgres' user can enter."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="smsd-test-", dir=where))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[str]:
    """The run's Postgres, with the migrated template in it; how to connect to it."""
    server = PrivatePostgres(reactor, scratch / "postgres", options=FAST)
    yield pytest_twisted.blockon(Deferred.fromCoroutine(_with_template(server)))
    pytest_twisted.blockon(Deferred.fromCoroutine(server.stop()))


async def _with_template(server: PrivatePostgres) -> str:
    conninfo = await server.start()
    admin = await opened(conninfo, 1)
    await admin.run(Statement("create", f"CREATE DATABASE {TEMPLATE}"))
    template = await opened(conninfo_of(conninfo, TEMPLATE), 1)
    await migrate(template)
    if os.environ.get(PARTITIONED):
        await partitioned(template)
    await template.close()
    await admin.close()
    return conninfo


@pytest_twisted.async_yield_fixture
async def conninfo(postgres: str) -> AsyncIterator[str]:
    """A database of the test's own, migrated and empty."""
    name = f"test_{next(_numbers)}"
    admin = await opened(postgres, 1)
    await admin.run(
        Statement("copy", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    )
    yield conninfo_of(postgres, name)
    await admin.run(Statement("drop", f"DROP DATABASE {name} WITH (FORCE)"))
    await admin.close()


@pytest_twisted.async_yield_fixture
async def database(conninfo: str) -> AsyncIterator[Database]:
    """A pool on the test's own database."""
    pool = await opened(conninfo)
    yield pool
    await pool.close()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Time that moves only when the test moves it; no timer may outlive its owner."""
    clock = Clock()
    yield clock
    assert clock.getDelayedCalls() == []


@pytest.fixture(scope="session", autouse=True)
def _quick_collections() -> None:
    gc.collect()
    gc.freeze()


class SeenFailures(list[Any]):
    """Failures that were logged; a test that expects one takes it out."""

    def taken(self, kind: type[BaseException]) -> list[Any]:
        """Those of this kind, which then no longer fail the test."""
        found = [event for event in self if event["log_failure"].check(kind)]
        self[:] = [event for event in self if event not in found]
        return found


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[SeenFailures]:
    """Fails a test that left a failure behind: pytest alone is blind to a dropped Deferred."""
    seen = SeenFailures()

    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None or event.get("log_level") == LogLevel.critical:
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert [str(event.get("log_failure")) for event in seen] == []
