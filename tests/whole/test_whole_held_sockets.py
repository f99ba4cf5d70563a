"""Sockets that somebody else holds, as systemd does: listened on, and no caller is refused."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from manager import LAUNCH, Holder
from visitors import Agent, Org, until

pytestmark = pytest.mark.whole


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


def test_a_socket_that_systemd_holds_is_listened_on_where_nothing_else_is_asked_for(
    home: Path,
) -> None:
    environ, where = {}, home / "held"
    with Holder(where) as holder:
        environ = holder.environ("--listen")
        with Daemon(home, command=LAUNCH, environ=environ) as gateway:
            assert gateway.url == holder.url
            org = Org(gateway.url).claim()
            with org.agent, org.phone() as phone:
                assert phone.receive(canaries.text())["type"] == "inbound_ack"


def test_a_socket_is_listened_on_by_its_name_and_one_that_is_not_wanted_is_told_of(
    home: Path,
) -> None:
    with Holder(home / "held") as holder:
        named = ("--listen", "systemd:domain=INET:name=http")
        with Daemon(home, *named, command=LAUNCH, environ=holder.environ()) as gateway:
            assert gateway.url != holder.url
            for url in (gateway.url, holder.url):
                with Agent(url) as agent:
                    assert agent.get("/ready").status_code == 200
        with Daemon(home, command=LAUNCH, environ=holder.environ()) as gateway:
            (warning,) = [e["msg"] for e in gateway.events() if "unused" in e["msg"]]
            assert warning == (
                "a socket that systemd holds for smsd stays unused:"
                " listen is set (command line (--listen))"
            )


class Caller(threading.Thread):
    """Stores SMS, each on a connection of its own, and each until it is acknowledged."""

    def __init__(self, org: Org, port: int) -> None:
        super().__init__()
        self.org, self.port = org, port
        self.acknowledged: list[str] = []
        self.refused = 0
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            text = canaries.text()
            until(lambda text=text: self._store(text))
            self.acknowledged.append(text)

    def _store(self, text: str) -> bool:
        message = {"address": "12345", "body": text, "id": text, "date": 1700000000000}
        body = {"org_id": self.org.id, "secret_key": self.org.secret, "messages": [message]}
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            line.request("POST", "/webhook", json.dumps(body), {"Connection": "close"})
            return line.getresponse().status == 200
        except ConnectionRefusedError:
            self.refused += 1
            return False
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()


def progress(callers: list[Caller], before: list[int]) -> list[int]:
    """How much each of them has got through since then."""
    return [len(c.acknowledged) - n for c, n in zip(callers, before, strict=True)]


def test_a_restart_under_load_on_a_socket_that_is_held_refuses_and_loses_nobody(
    home: Path,
) -> None:
    with Holder(home / "held") as holder:
        environ = holder.environ("--listen")
        with Daemon(home, command=LAUNCH, environ=environ) as gateway:
            org = Org(gateway.url).claim()
            callers = [Caller(org, holder.port) for _ in range(3)]
            for caller in callers:
                caller.start()
            until(lambda: min(progress(callers, [0, 0, 0])) > 20)
            assert gateway.stop() == 0
        before = [len(caller.acknowledged) for caller in callers]
        with org.agent, Daemon(home, command=LAUNCH, environ=environ):
            until(
                lambda: all(
                    len(c.acknowledged) > n + 20 for c, n in zip(callers, before, strict=True)
                )
            )
            for caller in callers:
                caller.enough.set()
                caller.join()
            acknowledged = Counter(text for c in callers for text in c.acknowledged)
            stored: Counter[str] = Counter()
            since = 0
            while page := org.read(since_id=since, limit=1000):
                stored.update(row["body"] for row in page)
                since = page[-1]["id"]
    assert stored == acknowledged
    assert [caller.refused for caller in callers] == [0, 0, 0]
