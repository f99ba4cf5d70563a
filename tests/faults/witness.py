"""Looks, at the moment of a push, whether the ticket's row is committed: commit first, push second.

Samples: while one look is under way, other pushes go unwitnessed. The checker finds in the end
every push that never had a row.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
from faults.journal import Journal

_LOOK = "SELECT 1 FROM messages WHERE org_id = %s AND id = %s"


class Witness:
    """Has a connection of its own, past whatever is put between the gateway and the database."""

    def __init__(self, journal: Journal, conninfo: str) -> None:
        self._journal = journal
        self._conninfo = conninfo
        self._thread = ThreadPoolExecutor(1, "witness")
        self._connection: Any = None
        self._looking: asyncio.Future[bool | None] | None = None

    def look(self, org_id: str, ticket: int) -> None:
        """Is there such a row? Asked at once, answered in the journal."""
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.run_in_executor(self._thread, self._ask, org_id, ticket)
            self._looking.add_done_callback(self._seen)

    def close(self) -> None:
        """No more looks."""
        self._thread.shutdown(cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    def _seen(self, look: asyncio.Future[bool | None]) -> None:
        self._looking = None
        if not look.cancelled() and look.result() is not None:
            self._journal.now.witnessed += 1
            self._journal.now.premature += not look.result()

    def _ask(self, org_id: str, ticket: int) -> bool | None:
        """None: the database could not be asked."""
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._conninfo, connect_timeout=2)
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(_LOOK, (org_id, ticket))
                return cursor.fetchone() is not None
        except psycopg2.Error:
            self._connection = None
            return None
