"""Phones that we did not write (the `websockets` library) on real sockets, each in a thread."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet import reactor as reactor_
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from smsd.graph import Parts
from smsd.store.database import Database
from smsd.store.statements import Statement

reactor: Any = reactor_
T = TypeVar("T")

ORG, SECRET = "myorg", "my-secret-key-123"
WITHIN = 10.0


class Handset:
    """One phone's connection, in a thread of its own."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line

    def say(self, **frame: Any) -> None:
        self.line.send(json.dumps(frame))

    def hear(self) -> dict[str, Any]:
        """The next frame."""
        heard: dict[str, Any] = json.loads(self.line.recv(WITHIN))
        return heard

    def sync(self) -> list[dict[str, Any]]:
        """All that the gateway said until now."""
        self.say(type="ping")
        heard = []
        while (frame := self.hear()) != {"type": "pong"}:
            heard.append(frame)
        return heard

    def farewell(self) -> int:
        """The code with which the gateway ends the connection; frames before it are skipped."""
        with suppress(ConnectionClosed):
            while True:
                self.line.recv(WITHIN)
        code = self.line.close_code
        assert code is not None
        return code


@dataclass
class Running:
    """A gateway on a port."""

    database: Database
    port: int
    parts: Parts
    ended: bool = False

    async def end(self) -> None:
        """Stop what is behind the port, once."""
        if not self.ended:
            self.ended = True
            await self.parts.end()

    def do(self, conversation: Callable[..., T], *given: Any) -> Deferred[T]:
        """Hold a conversation away from the reactor, with the gateway at hand."""
        return deferToThread(conversation, self, *given)

    @contextmanager
    def phone(self, query: str = f"?org_id={ORG}&secret_key={SECRET}") -> Iterator[Handset]:
        url = f"ws://127.0.0.1:{self.port}/websocket{query}"
        with connect(url, proxy=None, max_size=1 << 22) as line:
            yield Handset(line)

    @contextmanager
    def on_line(self, **options: Any) -> Iterator[Handset]:
        """A phone that was greeted."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        with self.phone(f"?org_id={ORG}&secret_key={SECRET}{more}") as phone:
            assert phone.hear() == {"type": "connected", "org_id": ORG}
            yield phone

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an agent's call."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Secret-Key": SECRET, "Connection": "close"},
        )
        try:
            with urllib.request.urlopen(request, timeout=WITHIN) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def send(self, **message: Any) -> dict[str, Any]:
        _, answer = self.ask(f"/send/{ORG}", {"to": "+15550100002", "body": "hi", **message})
        (result,) = answer["results"]
        return dict(result)

    def tickets(self) -> list[dict[str, Any]]:
        _, answer = self.ask(f"/messages/{ORG}?direction=out")
        return list(answer["messages"])

    def on_the_row(self, id_: int, wanted: str) -> dict[str, Any]:
        """The ticket, when it has come to this status."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            (row,) = [row for row in self.tickets() if row["id"] == id_]
            if row["status"] == wanted:
                return row
        raise AssertionError(f"ticket {id_} is {row['status']}, not {wanted}")

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN)

    async def count(self, table: str) -> int:
        ((count,),) = await self.database.run(Statement("count", f"SELECT count(*) FROM {table}"))
        return int(count)

    async def empties(self, table: str) -> None:
        """When the table has no row any more."""
        until = reactor.seconds() + WITHIN
        while await self.count(table):
            assert reactor.seconds() < until, f"{table} still has rows"
            await turn()

    @property
    def links(self) -> Any:
        return self.parts._links.links

    async def alone(self) -> None:
        """When no phone is connected any more."""
        until = reactor.seconds() + WITHIN
        while self.links:
            assert reactor.seconds() < until, "connections are left"
            await turn()


async def turn() -> None:
    """One turn of the reactor."""
    passed: Deferred[None] = Deferred()
    reactor.callLater(0.01, passed.callback, None)
    await passed
