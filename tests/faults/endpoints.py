"""A program to which hooks post: it verifies each post, takes about half of them, fails the others
in the ways in which endpoints fail, and writes down what it was told and what it took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Event, Thread
from typing import Any

from faults.journal import Journal
from standardwebhooks import Webhook, WebhookVerificationError

#: So many of all posts are not taken, and how: a status, a hang-up, an answer that comes too late.
FAILS = 0.5
FAILURES = {"500": 60, "hang up": 32, "429": 4, "late": 4}
#: An event is given up after ten attempts (`smsd.outward.retries`), so none is refused more often.
REFUSED_AT_MOST = 6
#: Later than the hurried gateway waits for an answer (`faults.failing`). Seconds.
LATE = 2.5


@dataclass(eq=False)
class Hook:
    """One hook and what its endpoint remembers of it; no ``types``: all."""

    org_id: str
    types: tuple[str, ...] = ()
    address: str | None = None
    id: str = ""
    secret: str = ""
    #: How often each event came and was not taken.
    met: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.org_id}/{self.id}"

    def wants(self, type_: str, address: str | None) -> bool:
        """Whether an event of this type, of a message with this address, is to be posted."""
        return (not self.types or type_ in self.types) and self.address in (None, address)


class Endpoint:
    """Listens on 127.0.0.1 from `open` to `close`; each hook has a path of its own."""

    def __init__(self, journal: Journal, chance: Random) -> None:
        self._journal = journal
        self._chance = chance
        self._hooks: dict[str, Hook] = {}
        self._over = Event()

    def open(self) -> None:
        """Serve in a thread of its own, and each post in another."""
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody is there any more."""
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, org_id: str, number: int) -> str:
        """Where the so-manieth hook of an org posts to."""
        return f"http://127.0.0.1:{self._server.server_port}/{org_id}/{number}"

    def know(self, url: str, hook: Hook) -> None:
        """From now on what comes there is this hook's."""
        self._hooks["/" + url.split("/", 3)[3]] = hook

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> str:
        """What is done with a post: ``taken``, or one of `FAILURES`."""
        hook = self._hooks.get(path)
        if hook is None or (event := _verified(hook, headers, body)) is None:
            self._journal.complain("a post that nobody signed, or to nobody")
            return "500"
        id_, message = event["id"], event["data"]
        if headers["webhook-id"] != f"{hook.id}-{id_}":
            self._journal.complain("a post under another event's webhook-id")
        if not hook.wants(event["type"], message.get("address")):
            self._journal.complain("a post that its hook does not want")
        later = max(hook.met, default=0) if id_ not in hook.met else 0
        refused = hook.met.setdefault(id_, 0)
        way = self._way(refused)
        hook.met[id_] += way != "taken"
        self._journal.posted(hook.name, id_, taken=way == "taken", after=later)
        return way

    def wait(self) -> None:
        """Until an answer is too late."""
        self._over.wait(LATE)

    def _way(self, refused: int) -> str:
        if refused >= REFUSED_AT_MOST or self._chance.random() >= FAILS:
            return "taken"
        return self._chance.choices(list(FAILURES), list(FAILURES.values()))[0]


def _verified(hook: Hook, headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    try:
        Webhook(hook.secret).verify(body, dict(headers))
    except WebhookVerificationError:
        return None
    event: dict[str, Any] = json.loads(body)
    return event


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 50

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.endpoint = endpoint

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever posted is gone: it was killed, or would not wait."""


class _Post(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        way = self.server.endpoint.answer(self.path, headers, body)
        if way == "hang up":
            return
        if way == "late":
            self.server.endpoint.wait()
        self.send_response(204 if way in ("taken", "late") else int(way))
        if way == "429":
            self.send_header("retry-after", "1")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *told: Any) -> None:
        """Nobody reads it."""
