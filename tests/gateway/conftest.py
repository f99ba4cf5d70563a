"""A node of the gateway for each test that wants one, and an ear for secrets in the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nodes import SECRET, WRONG, Node, middle
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from smsd.gateway.hashing import Hashing
from smsd.store.database import Database

#: What no log line may hold: secrets of the tests and the texts of their messages.
PRIVATE = (SECRET, WRONG, "secret-of-", "a private text")


@pytest.fixture
def hashing() -> Iterator[Hashing]:
    hashing = Hashing(reactor, middle)
    hashing.start()
    yield hashing
    hashing.stop()


@pytest.fixture
def node(database: Database, clock: Clock, hashing: Hashing) -> Node:
    return Node(database, clock, hashing=hashing)


@pytest.fixture(autouse=True)
def _nothing_private_is_logged() -> Iterator[None]:
    """Looks at every event of the test, as people read it and as machines do."""
    told: list[str] = []

    def observe(event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("smsd"):
            told.append(f"{formatEvent(event)} {dict(event)!r}")

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert [line for line in told if any(word in line for word in PRIVATE)] == []
