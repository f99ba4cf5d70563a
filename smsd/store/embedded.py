"""The private Postgres: a server of our own in the data directory, for as long as we run.

Found, made, started, kept alive and stopped here. Whose it is, where its programs and its
socket are, what it is told, and what is left of an earlier one are in `account`, `binaries`,
`directories`, `cluster` and `residents`; who may have the directory is in `lock`. Nothing here
speaks SQL.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from smsd.store import binaries as programs
from smsd.store.account import Account, keeper
from smsd.store.child import Child, spawn
from smsd.store.cluster import PORT, READY, Cluster, conninfo
from smsd.store.directories import socket_directory
from smsd.store.home import CLUSTER, barrier, made_home, occupied, unreachable
from smsd.store.journal import Journal
from smsd.store.lock import DirectoryLock
from smsd.store.residents import GRACE, Residents, clear_leftovers
from smsd.store.unusable import PostgresUnusable

__all__ = ["PostgresUnusable", "PrivatePostgres"]

#: Seconds: the first restart is nearly at once, the others are less and less so.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 15.0
#: A server that lived this long was well; its next death starts with the first pause again.
WELL_AFTER = 60.0


def conninfo_of(home: Path) -> str:
    """How to reach the server that another process runs on this data directory."""
    home = home.resolve()
    return conninfo(socket_directory(home, keeper(home / CLUSTER), PORT))


class PrivatePostgres:
    """A Postgres that only this process and its user can reach, on a unix socket."""

    log = Logger()
    #: How long a stop in order may take before it is a stop at once, which loses nothing.
    grace = GRACE

    def __init__(
        self,
        reactor: Any,
        home: Path,
        *,
        options: Mapping[str, str] = {},
        binaries: Path | None = None,
        user: str | None = None,
        account: Account | None = None,
        locked: bool = False,
    ) -> None:
        """``options`` are settings of the server; ``binaries``, ``user`` and ``account`` replace
        a search. ``locked``: the caller holds the directory's lock."""
        self._reactor = reactor
        self._home = home.resolve()
        self._options = options
        self._binaries = binaries
        self._user = user
        self._account = account
        self._lock = None if locked else DirectoryLock(self._home)
        self._journal = Journal(self.log)
        self._children: list[Child] = []
        self._life: Deferred[Any] = succeed(None)

    async def start(self) -> str:
        """Have a server, on a new cluster where there is none; how libpq connects to it."""
        made_home(self._home, os.geteuid())
        if self._lock is not None:
            self._lock.take()
        self._life = Deferred.fromCoroutine(self._begin())
        try:
            cluster, server = await self._life
        except OSError as error:  # a full disk, say
            await self._put_away()
            raise PostgresUnusable(f"{self._home} cannot be used for data: {error}.") from error
        except Exception:
            await self._put_away()
            raise
        self.log.info(
            "Postgres {version} is ready; its data is in {data}",
            version=cluster.binaries.version,
            data=str(cluster.data),
        )
        self._live(self._keep(cluster, server))
        return str(cluster.conninfo)

    async def stop(self) -> None:
        """Stop the server in order, wait for its end, and let go of the directory."""
        self._life.cancel()
        await self._put_away()

    async def _begin(self) -> tuple[Cluster, Child]:
        data = self._home / CLUSTER
        account = self._account or keeper(data, self._user)
        if closed := barrier(self._home, account):
            raise PostgresUnusable(unreachable(self._home, account, closed))
        if occupied(self._home):
            await self._evict(data)
        cluster = self._cluster(data, account)
        await cluster.make_or_check(self._run)
        return cluster, await self._launch(cluster)

    def _cluster(self, data: Path, account: Account) -> Cluster:
        found = programs.readable(programs.find(self._binaries), account, self._home)
        sockets = socket_directory(self._home, account, PORT)
        return Cluster(data, sockets, found, account, self._options)

    async def _evict(self, data: Path) -> None:
        """The lock is ours, so a server on our data is an orphan of an earlier run."""
        if await Residents(data).leave(self._reactor):
            self.log.warn("Stopped a Postgres that an earlier run had left behind")

    async def _launch(self, cluster: Cluster) -> Child:
        await self._evict(cluster.data)
        clear_leftovers(cluster.data, cluster.sockets, PORT)
        server = self._spawn(cluster.account, cluster.server())
        if not await server.said(READY):
            raise self._failed("start", server)
        return server

    async def _keep(self, cluster: Cluster, server: Child) -> None:
        """Start it again whenever it ends; for ever, so this ends by being cancelled."""
        backoff = Backoff()
        while True:
            began = self._reactor.seconds()
            await server.ended()
            backoff.lived(self._reactor.seconds() - began)
            self.log.error(
                "The private Postgres ended by itself ({how}); starting it again", how=server.status
            )
            server = await self._revive(cluster, backoff)
            self.log.info("The private Postgres runs again")

    async def _revive(self, cluster: Cluster, backoff: Backoff) -> Child:
        """Try until it runs; only the first failure is told at a level that people read."""
        tell = LogLevel.warn
        while True:
            await deferLater(self._reactor, backoff.pause())
            try:
                return await self._launch(cluster)
            except (PostgresUnusable, OSError) as error:
                self.log.emit(tell, "The private Postgres cannot start yet: {why}", why=str(error))
                tell = LogLevel.debug

    async def _run(self, account: Account, argv: Sequence[str], stdin: bytes) -> None:
        child = self._spawn(account, argv, stdin)
        await child.ended()
        if not child.succeeded:
            raise self._failed(os.path.basename(argv[0]), child)

    def _spawn(self, account: Account, argv: Sequence[str], stdin: bytes = b"") -> Child:
        self._journal.begin()
        child = spawn(self._reactor, account, argv, Child(self._journal.hear, stdin))
        self._children.append(child)
        child.ended().addCallback(lambda _: self._children.remove(child))
        return child

    def _failed(self, what: str, child: Child) -> PostgresUnusable:
        said = self._journal.last_words()
        return PostgresUnusable(f"The private Postgres failed ({what}, {child.status}): {said}")

    def _live(self, life: Coroutine[Deferred[Any], Any, None]) -> None:
        self._life = Deferred.fromCoroutine(life)
        self._life.addErrback(self._fault)

    def _fault(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("The private Postgres is no longer watched", failure)

    async def _put_away(self) -> None:
        """Whatever runs is told to end; the lock goes when nothing does."""
        for child in list(self._children):
            await self._end(child)
        if self._lock is not None:
            self._lock.release()

    async def _end(self, child: Child) -> None:
        child.interrupt()
        hastening = self._reactor.callLater(self.grace, self._hasten, child)
        try:
            await child.ended()
        finally:
            if hastening.active():
                hastening.cancel()

    def _hasten(self, child: Child) -> None:
        self.log.warn(
            "Postgres does not stop in order; it is made to, and recovers at its next start"
        )
        child.quit()


class Backoff:
    """How long to wait before each attempt: ever longer, until a server has lived for a while."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def lived(self, seconds: float) -> None:
        """A server has ended that lived this long."""
        if seconds > WELL_AFTER:
            self._next = FIRST_PAUSE

    def pause(self) -> float:
        """Seconds; the next are more."""
        pause, self._next = self._next, min(self._next * 2, LONGEST_PAUSE)
        return pause
