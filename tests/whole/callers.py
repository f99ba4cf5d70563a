"""Agents and a phone who live through a trouble of the gateway and keep account of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests
from canaries import canaries
from visitors import Agent, Org, Phone, calling, until
from websockets.exceptions import InvalidStatus

#: What a client waits for an answer. Seconds; nobody is kept waiting nearly so long.
CLIENT = 10.0
PROBLEM = "application/problem+json"
WRITES = ("send", "webhook")
READS = ("messages", "sims", "ready")
CALLS = (*WRITES, *READS, "claim", "handshake")

Told = tuple[int, Mapping[str, str]]


def long_text(size: int) -> str:
    """One that no compression makes small."""
    return canaries.note(secrets.token_hex(size // 2))


@dataclass
class Caller:
    """An agent of an org, each of whose calls is over a connection of its own."""

    org: Org
    #: Texts that must be stored, once.
    acknowledged: list[str] = field(default_factory=list)
    #: Seconds to the slowest refusal.
    slowest: float = 0.0
    answers: list[int] = field(default_factory=list)

    def ask(self, call: str) -> int:
        """The status of the answer: it is served, or refused as a client can understand."""
        began = time.monotonic()
        status, headers = getattr(self, call)()
        took = time.monotonic() - began
        assert status in (200, 503), f"{call} was answered {status}"
        if status == 503:
            assert int(headers["Retry-After"]) > 0
            assert headers["Content-Type"] == PROBLEM
            self.slowest = max(self.slowest, took)
        self.answers.append(status)
        return status

    def is_refused(self, call: str) -> None:
        """Ask until it is; what `/ready` says may be a second old."""
        until(lambda: self.ask(call) == 503)

    def lost(self) -> list[str]:
        """What was acknowledged and is not stored once."""
        stored: list[str] = []
        since = 0
        while page := self.org.read(since_id=since, limit=50):
            stored += [row["body"] for row in page]
            since = page[-1]["id"]
        return [text for text in self.acknowledged if stored.count(text) != 1]

    # -- the calls --

    def send(self) -> Told:
        texts = [long_text(1600) for _ in range(50)]
        messages = [{"to": canaries.number(), "body": text} for text in texts]
        return self._noted(texts, f"/send/{self.org.id}", {"sim": "9", "messages": messages})

    def webhook(self) -> Told:
        texts = [long_text(60_000) for _ in range(10)]
        body = {"org_id": self.org.id, "messages": [self.org.sms(text) for text in texts]}
        return self._noted(texts, "/webhook", body)

    def text(self) -> Told:
        """A ticket that any phone may take."""
        text = canaries.text()
        body = {"to": canaries.number(), "body": text}
        return self._noted([text], f"/send/{self.org.id}", body)

    def incoming(self) -> Told:
        sms = self.org.sms()
        body = {"org_id": self.org.id, "messages": [sms]}
        return self._noted([sms["body"]], "/webhook", body)

    def claim(self) -> Told:
        return self._told("POST", "/webhook", json={"org_id": Org("").id, "messages": []})

    def messages(self) -> Told:
        return self._told("GET", f"/messages/{self.org.id}")

    def sims(self) -> Told:
        return self._told("GET", f"/sims/{self.org.id}")

    def ready(self) -> Told:
        return self._told("GET", "/ready")

    def handshake(self) -> Told:
        """Who was known a moment ago is let in, and told then."""
        try:
            with calling(self.org.socket_url(), self.org.address) as phone:
                if phone.hear()["type"] == "connected":
                    return 200, {}
                assert phone.end()[0] == 4503
                return 503, {"Retry-After": "1", "Content-Type": PROBLEM}
        except InvalidStatus as refusal:
            return refusal.response.status_code, refusal.response.headers

    def _noted(self, texts: list[str], path: str, body: dict[str, Any]) -> Told:
        status, headers = self._told("POST", path, json=body)
        if status == 200:
            self.acknowledged += texts
        return status, headers

    def _told(self, method: str, path: str, **options: Any) -> Told:
        answer = self._call(method, path, **options)
        return answer.status_code, answer.headers

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        with Agent(self.org.url, self.org.address) as agent:
            agent.headers["X-Secret-Key"] = self.org.secret
            return agent.request(method, path, timeout=CLIENT, **options)


@dataclass
class Witness:
    """A phone on line when the trouble comes: what it is owed and what it owes."""

    org: Org
    phone: Phone
    ticket: int = 0
    _early: list[dict[str, Any]] = field(default_factory=list)

    def before(self) -> None:
        """It is given a ticket."""
        self.ticket = self.org.ticket()
        assert self.phone.hear()["id"] == self.ticket

    def during(self) -> None:
        """It goes on as if nothing were; the gateway is there and reads it."""
        self.phone.confirm(self.ticket)
        self.phone.say(type="inbound", message=self.org.sms(id="one"))
        self.phone.say(type="inbound", message={"id": "two"})
        self.phone.say(type="inbound", message=self.org.sms(id="three"))
        self.phone.say(type="sims", sims=[{"slot": 3}])
        self._early = self.phone.hear_all_before_pong()

    def after(self) -> None:
        """All is answered, in order, over the same socket, and nothing was forgotten."""
        answers = self._early + [self.phone.hear() for _ in range(4 - len(self._early))]
        answers.remove({"type": "sims_ack", "count": 1})
        assert [answer.get("id") for answer in answers] == ["one", "two", "three"]
        assert [answer["type"] for answer in answers] == ["inbound_ack", "error", "inbound_ack"]
        assert self.org.settled(self.ticket)["status"] == "sent"

    def is_served(self) -> None:
        """Send, push, sent; one SMS by each road; both are read."""
        ticket = self.org.ticket()
        assert self.phone.hear()["id"] == ticket
        self.phone.confirm(ticket)
        assert self.org.settled(ticket)["status"] == "sent"
        by_socket, by_call = canaries.text(), canaries.text()
        assert self.phone.receive(by_socket)["type"] == "inbound_ack"
        assert self.org.store(self.org.sms(by_call)).json()["stored"] == 1
        assert [row["body"] for row in self.org.read(since_id=ticket)] == [by_socket, by_call]


def seconds_to_service(org: Org, callers: int = 4) -> float:
    """From now until a ticket is accepted, for the first of some who ask again and again."""
    began = time.monotonic()
    served = threading.Event()

    def ask_on() -> float:
        with Agent(org.url, org.address) as agent:
            agent.headers["X-Secret-Key"] = org.secret
            body = {"to": canaries.number(), "body": canaries.text(), "sim": "9"}
            path = f"/send/{org.id}"
            until(lambda: served.is_set() or agent.post(path, json=body).status_code == 200)
        served.set()
        return time.monotonic() - began

    with ThreadPoolExecutor(callers) as several:
        return min(several.map(lambda _: ask_on(), range(callers)))
