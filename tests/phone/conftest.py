"""The phone face over a wire in memory, and the whole of it on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from wires import MemoryPhone, Notes

from smsd.phone.factory import LinkFactory


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
