"""Whoever calls on the gateway, all with clients that others wrote: agents (requests, http.client),
phones (websockets), and callers that speak raw bytes.

Every caller may come from an address of its own: the whole of 127.0.0.0/8 is this machine.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import pytest
import requests
from canaries import canaries
from daemon import PATIENCE, Daemon
from requests.adapters import HTTPAdapter
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response as Refusal
from websockets.sync.client import ClientConnection, connect

T = TypeVar("T")

_addresses = count(1)


def new_address() -> str:
    """An address of this machine from which nobody has called yet."""
    high, low = divmod(next(_addresses), 250)
    return f"127.7.{high}.{low + 1}"


def until(look: Callable[[], T | None], within: float = PATIENCE) -> T:
    """What ``look`` sees once it sees something."""
    end = time.monotonic() + within
    pause = iter_pauses()
    while not (seen := look()):
        assert time.monotonic() < end, f"it did not come to pass within {within} seconds"
        next(pause)
    return seen


def iter_pauses() -> Iterator[None]:
    """Breathing space between two looks; the condition, not the clock, ends the waiting."""
    never = Event()
    while True:
        never.wait(0.03)
        yield


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)


class Agent(requests.Session):
    """A program at one address."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        super().__init__()
        self.trust_env = False
        for scheme in ("http://", "https://"):
            self.mount(scheme, _From(address))
        self._url = url

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", PATIENCE)
        return super().request(method, self._url + url, *args, **kwargs)


def problem(answer: requests.Response, status: int) -> dict[str, Any]:
    """The problem in an answer, which must be told in the one form that all of them have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:smsd:problem:")
    assert told["title"]
    assert told["detail"]
    return told


class Phone:
    """A phone as an author of one would write it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._kept: deque[dict[str, Any]] = deque()

    def say(self, **frame: Any) -> None:
        self.socket.send(json.dumps(frame))

    def hear(self) -> dict[str, Any]:
        """The next frame."""
        return self._kept.popleft() if self._kept else self._read()

    def _read(self) -> dict[str, Any]:
        heard = self.socket.recv(timeout=PATIENCE)
        assert isinstance(heard, str)
        frame: dict[str, Any] = json.loads(heard)
        return frame

    def hear_all_before_pong(self) -> list[dict[str, Any]]:
        """Every frame that came before the answer to a ping sent now."""
        self.say(type="ping")
        frames = []
        while (frame := self.hear()) != {"type": "pong"}:
            frames.append(frame)
        return frames

    def report(self, *sims: dict[str, Any]) -> None:
        """The phone holds these SIMs. Tickets that waited may come before the answer."""
        self.say(type="sims", sims=sims)
        while (frame := self._read())["type"] == "send_sms":
            self._kept.append(frame)
        assert frame == {"type": "sims_ack", "count": len(sims)}

    def receive(self, body: str, **more: Any) -> dict[str, Any]:
        """An SMS has arrived; the gateway's answer."""
        message = {"address": canaries.number(), "body": body, **more}
        self.say(type="inbound", message=message)
        return self.hear()

    def confirm(self, ticket: int, success: bool = True, **more: Any) -> None:
        self.say(type="send_result", id=ticket, success=success, **more)

    def end(self) -> tuple[int, str]:
        """Why the gateway closes the connection, after whatever it says before."""
        with pytest.raises(ConnectionClosed) as closed:
            self._hear_on(time.monotonic() + PATIENCE)
        received = closed.value.rcvd
        assert received is not None, "the connection broke without a word"
        return received.code, received.reason

    def _hear_on(self, end: float) -> None:
        while time.monotonic() < end:
            self.socket.recv(timeout=PATIENCE)


@contextmanager
def calling(url: str, address: str = "127.0.0.1", **options: Any) -> Iterator[Phone]:
    """A phone that has opened a WebSocket and said nothing yet."""
    options.setdefault("compression", None)
    with connect(
        url,
        proxy=None,
        source_address=(address, 0),
        open_timeout=PATIENCE,
        close_timeout=5,
        ping_interval=None,
        max_size=None,
        **options,
    ) as opened:
        yield Phone(opened)


def refused(url: str, address: str = "127.0.0.1", **options: Any) -> Refusal:
    """The HTTP answer to a handshake that is not granted."""
    try:
        with calling(url, address, **options):
            raise AssertionError("it was let in")
    except InvalidStatus as refusal:
        return refusal.response


@dataclass
class Org:
    """An org of one test's own, and what its people do."""

    url: str
    id: str = field(default_factory=lambda: f"org-{secrets.token_hex(5)}")
    secret: str = field(default_factory=canaries.secret)
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.agent = Agent(self.url, self.address)
        self.agent.headers["X-Secret-Key"] = self.secret

    def store(self, *messages: dict[str, Any]) -> requests.Response:
        return self.agent.post("/webhook", json={"org_id": self.id, "messages": messages})

    def claim(self) -> Org:
        answer = self.store()
        assert answer.json() == {"ok": True, "org_id": self.id, "stored": 0}
        return self

    def sms(self, body: str | None = None, **more: Any) -> dict[str, Any]:
        """One that arrived."""
        return {"address": canaries.number(), "body": body or canaries.text(), **more}

    def read(self, **asked: Any) -> list[dict[str, Any]]:
        answer = self.agent.get(f"/messages/{self.id}", params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert (page["org_id"], page["count"]) == (self.id, len(page["messages"]))
        messages: list[dict[str, Any]] = page["messages"]
        return messages

    def post(self, **body: Any) -> requests.Response:
        return self.agent.post(f"/send/{self.id}", json=body)

    def send(self, **body: Any) -> dict[str, Any]:
        """One SMS, or as ``body`` says; the whole answer."""
        if "messages" not in body:
            body = {"to": canaries.number(), "body": canaries.text(), **body}
        answer = self.post(**body)
        assert answer.status_code == 200, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def ticket(self, **body: Any) -> int:
        """The id of one SMS that was sent."""
        return int(self.send(**body)["results"][0]["id"])

    def row(self, id_: int) -> dict[str, Any]:
        (row,) = self.read(since_id=id_ - 1, limit=1)
        assert row["id"] == id_
        return row

    def settled(self, id_: int) -> dict[str, Any]:
        """The ticket's row once it has come to an end."""
        return until(
            lambda: row if (row := self.row(id_))["status"] in ("sent", "failed") else None
        )

    def sims(self) -> dict[str, Any]:
        answer = self.agent.get(f"/sims/{self.id}")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def socket_url(self, **query: str) -> str:
        query = {"org_id": self.id, "secret_key": self.secret, **query}
        return f"ws{self.url.removeprefix('http')}/websocket?{urlencode(query)}"

    @contextmanager
    def phone(self, *sims: dict[str, Any], **query: str) -> Iterator[Phone]:
        """One of the org's phones, greeted, with these SIMs reported."""
        with calling(self.socket_url(**query), self.address) as phone:
            assert phone.hear() == {"type": "connected", "org_id": self.id}
            if sims:
                phone.report(*sims)
            yield phone

    def at(self, address: str) -> Org:
        """The same org's people at another address."""
        return Org(self.url, self.id, self.secret, address)

    def on(self, node: Daemon) -> Org:
        """The same org's people at another node."""
        return Org(node.url, self.id, self.secret, self.address)

    @property
    def path_form(self) -> str:
        return f"{self.id}/{quote(self.secret, safe='')}"


def exchange(url: str, raw: bytes, address: str = "127.0.0.1") -> http.client.HTTPResponse:
    """The answer to these very bytes, read to its end."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    target = (parts.hostname, parts.port or 80)
    with socket.create_connection(target, PATIENCE, (address, 0)) as line:
        line.sendall(raw)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        answer.content = answer.read()  # type: ignore[attr-defined]
        return answer
