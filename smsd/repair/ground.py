"""What a command has at hand that opens its database itself, or needs none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import LoopingCall

from smsd.domain.settings import Settings
from smsd.repair.terminal import Terminal
from smsd.store.clients import access, fitting
from smsd.store.database import Database
from smsd.store.dumps import Server
from smsd.store.statements import named

#: Seconds between two looks at how far something is.
GLANCE = 0.2

_MAJOR = named("server_major")


@dataclass(frozen=True)
class Ground:
    """One command being carried out; ``stack`` is unwound when it is over."""

    reactor: Any
    stack: AsyncExitStack
    terminal: Terminal
    settings: Settings
    asked: Mapping[str, Any]

    async def server(self, database: Database) -> Server:
        """The database's server, and programs that fit it."""
        ((major,),) = await database.run(_MAJOR)
        clients = fitting(major, self.settings.postgres_bin)
        return Server(self.reactor, clients, access(database.conninfo))

    @contextmanager
    def telling(self, doing: str, done: Callable[[], int]) -> Iterator[None]:
        """Tells now and then how much is done, for as long as this lasts."""
        told, before = self.terminal.progress(doing), 0

        def look() -> None:
            nonlocal before
            now = done()
            told(now - before)
            before = now

        looking = LoopingCall(look)
        looking.clock = self.reactor
        looking.start(GLANCE, now=False)
        try:
            yield
        finally:
            looking.stop()
