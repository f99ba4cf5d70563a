"""The phone face over a wire in memory, and the whole of it on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from sockets import Running
from twisted.internet import reactor as reactor_
from twisted.internet.task import Clock
from wires import MemoryPhone, Notes

from smsd.domain.settings import Settings
from smsd.graph import Parts
from smsd.phone.factory import LinkFactory
from smsd.rest.site import Site
from smsd.store.database import Database

reactor: Any = reactor_


@pytest.fixture
def notes(clock: Clock) -> Notes:
    return Notes(clock)


@pytest.fixture
def factory(clock: Clock, notes: Notes) -> Iterator[LinkFactory]:
    factory = LinkFactory(clock, notes.gateway())
    yield factory
    assert factory.links == set()


@pytest.fixture
def connect(factory: LinkFactory, clock: Clock) -> Iterator[Callable[..., MemoryPhone]]:
    """Makes phones; the test's end hangs up all of them."""
    phones = []

    def connect(*who: Any, **how: Any) -> MemoryPhone:
        phones.append(MemoryPhone(factory, clock, *who, **how))
        return phones[-1]

    yield connect
    for phone in phones:
        phone.hang_up()


@pytest_twisted.async_yield_fixture
async def running(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    """The whole gateway on a real socket and a real database."""
    settings = Settings(data_dir=tmp_path, claims="open")
    parts = Parts(settings, reactor, database, tmp_path)
    parts.hashing.start()
    await parts.begin()
    site = Site(parts.api(_nothing_missing), reactor)
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    running = Running(database, port.getHost().port, parts)
    yield running
    await port.stopListening()
    site.retire()
    await running.end()
    await running.alone()
    parts.hashing.stop()
    parts.node.release()


async def _nothing_missing() -> list[str]:
    return []
