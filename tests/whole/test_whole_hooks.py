"""Webhooks managed over the wire with requests, and tried against an endpoint that verifies with
what others wrote."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, new_home
from standardwebhooks import Webhook, WebhookVerificationError
from visitors import Agent, Org, new_address, problem

pytestmark = pytest.mark.whole


class Endpoint:
    """Answers every post as the test says, and keeps what came."""

    def __init__(self) -> None:
        self.status, self.answer = 204, b""
        #: One for each post, instead of the one for all.
        self.statuses: Iterator[int] | None = None
        self.posts: list[tuple[dict[str, str], bytes]] = []
        #: The texts of those that were answered with 204.
        self.taken: list[str] = []
        self._news = Condition()
        endpoint = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.posts.append((dict(self.headers), body))
                status = next(endpoint.statuses) if endpoint.statuses else endpoint.status
                if status == 204:
                    endpoint.note(json.loads(body))
                self.send_response(status)
                self.send_header("content-length", str(len(endpoint.answer)))
                self.end_headers()
                self.wfile.write(endpoint.answer)

            def log_message(self, *told: Any) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sms"

    def note(self, event: dict[str, Any]) -> None:
        with self._news:
            self.taken.append(event["data"].get("body", ""))
            self._news.notify_all()

    def see(self, texts: int) -> None:
        """Once so many different ones were taken."""
        with self._news:
            assert self._news.wait_for(lambda: len(set(self.taken)) >= texts, PATIENCE)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    serving = Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    yield endpoint
    endpoint.server.shutdown()
    serving.join()
    endpoint.server.server_close()


@pytest.fixture(scope="module")
def posting() -> Iterator[Daemon]:
    """A gateway that may post to this machine."""
    with new_home() as home, Daemon(home, "--hooks-allow", "127.0.0.0/8") as daemon:
        yield daemon


@pytest.fixture
def mine(posting: Daemon) -> Iterator[Org]:
    org = Org(posting.url)
    with org.agent:
        yield org.claim()


def made(org: Org, url: str, **more: Any) -> dict[str, Any]:
    answer = org.agent.post(f"/hooks/{org.id}", json={"url": url, **more})
    assert answer.status_code == 200, answer.text
    hook: dict[str, Any] = answer.json()
    canaries.note(hook["secret"])
    return hook


def tried(org: Org, hook: dict[str, Any]) -> dict[str, Any]:
    answer = org.agent.post(f"/hooks/{org.id}/{hook['id']}/test")
    assert answer.status_code == 200, answer.text
    came: dict[str, Any] = answer.json()
    return came


def test_a_hook_is_tried_and_its_secret_changed_without_a_post_refused(
    mine: Org, endpoint: Endpoint
) -> None:
    hook = made(mine, endpoint.url, enabled=False)
    place = f"/hooks/{mine.id}/{hook['id']}"
    assert tried(mine, hook)["status"] == 204
    next_ = mine.agent.post(f"{place}/rotate", json={"overlap": 60}).json()
    canaries.note(next_["secret"])
    assert tried(mine, hook)["ok"]
    last = mine.agent.post(f"{place}/rotate", json={"overlap": 0}).json()
    canaries.note(last["secret"])
    assert tried(mine, hook)["ok"]
    verified = [
        [verifies(one["secret"], post) for one in (hook, next_, last)] for post in endpoint.posts
    ]
    assert verified == [[True, False, False], [True, True, False], [False, False, True]]
    told = json.loads(endpoint.posts[0][1])
    assert (told["type"], told["data"]) == ("hook.test", {"hook": hook["id"]})
    assert len({headers["Webhook-Id"] for headers, _ in endpoint.posts}) == 3


def verifies(secret: str, post: tuple[dict[str, str], bytes]) -> bool:
    try:
        Webhook(secret).verify(post[1], post[0])
    except WebhookVerificationError:
        return False
    return True


def test_what_an_endpoint_says_is_shown(mine: Org, endpoint: Endpoint) -> None:
    hook = made(mine, endpoint.url, enabled=False)
    endpoint.status, endpoint.answer = 500, b"out of order " * 200
    came = tried(mine, hook)
    assert (came["ok"], came["status"], came["error"]) == (False, 500, None)
    assert came["answer"] == (endpoint.answer.decode())[:1024]
    endpoint.server.server_close()
    shut = tried(mine, made(mine, "http://127.0.0.1:1/", enabled=False))
    assert (shut["ok"], shut["status"], shut["error"]) == (False, None, "unreachable")


def test_an_agent_with_a_key_for_hooks_manages_them_and_nothing_else(mine: Org) -> None:
    key = mine.agent.post(f"/keys/{mine.id}", json={"name": "hooks", "scopes": ["hooks"]}).json()
    canaries.note(key["key"])
    with Agent(mine.url, new_address()) as agent:
        agent.headers["Authorization"] = f"Bearer {key['key']}"
        asked = {"url": "https://app.example/sms", "address": "+15551112222", "enabled": False}
        hook = agent.post(f"/hooks/{mine.id}", json=asked).json()
        canaries.note(hook["secret"])
        place = f"/hooks/{mine.id}/{hook['id']}"
        changed = agent.patch(place, json={"address": None, "types": ["ticket.sent"]}).json()
        assert (changed["address"], changed["types"]) == (None, ["ticket.sent"])
        assert agent.get(place).json() == changed
        assert "secret" not in changed
        assert agent.get(f"/hooks/{mine.id}").json()["hooks"][0]["id"] == hook["id"]
        assert agent.get(f"{place}/deliveries").json()["deliveries"] == []
        problem(agent.get(f"/messages/{mine.id}"), 403)
        assert agent.delete(place).json() == {"ok": True, "org_id": mine.id, "id": hook["id"]}
        problem(agent.get(place), 404)


def test_a_hook_goes_back_to_what_is_kept_and_is_told_where_that_begins(mine: Org) -> None:
    mine.store(mine.sms())
    hook = made(mine, "https://app.example/sms", enabled=False)
    mine.store(mine.sms(), mine.sms())
    place = f"/hooks/{mine.id}/{hook['id']}"
    assert mine.agent.get(place).json()["behind"] == 2
    gone = problem(mine.agent.post(f"{place}/replay", json={"since": hook["cursor"] - 1}), 410)
    assert gone["oldest"] == hook["cursor"]
    ahead = mine.agent.post(f"{place}/replay", json={"since": hook["cursor"] + 2}).json()
    back = mine.agent.post(f"{place}/replay", json={"since": hook["cursor"]}).json()
    assert (ahead["behind"], back["behind"]) == (0, 2)


def test_where_the_operator_allows_nothing_no_hook_points_inward(org: Org) -> None:
    for url in ("http://127.0.0.1/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/"):
        fault = problem(org.agent.post(f"/hooks/{org.id}", json={"url": url}), 422)
        assert fault["errors"][0]["loc"] == ["url"]


def test_hooks_are_no_more_than_twenty(org: Org) -> None:
    for _ in range(20):
        made(org, "https://app.example/sms", enabled=False)
    full = org.agent.post(f"/hooks/{org.id}", json={"url": "https://app.example/sms"})
    assert "twenty" in problem(full, 409)["detail"]


#: A gateway that is in more of a hurry to post again than anybody should be.
HURRIED = """
import sys
from smsd.outward import retries
retries.PAUSES = (0.05,) * len(retries.PAUSES)
from smsd.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_endpoint_that_fails_half_the_time_misses_nothing_through_kills(
    endpoint: Endpoint,
) -> None:
    """At least once each, and in order: what comes again comes where it was to come."""
    endpoint.statuses = itertools.cycle((204, 503))
    texts = [canaries.text() for _ in range(12)]
    with new_home() as home:
        with living(home) as daemon:
            org = Org(daemon.url)
            with org.agent:
                hook = made(org.claim(), endpoint.url, types=["message.received"])
        for life in range(3):
            with living(home) as daemon:
                org = Org(daemon.url, org.id, org.secret)
                with org.agent:
                    for text in texts[life * 4 :][:4]:
                        assert org.store(org.sms(text)).status_code == 200
                    endpoint.see(4 * life + 2)
                    daemon.kill()
        with living(home):
            endpoint.see(len(texts))
    assert all(verifies(hook["secret"], post) for post in endpoint.posts)
    assert list(dict.fromkeys(endpoint.taken)) == texts


def living(home: Path) -> Daemon:
    command = (sys.executable, "-c", HURRIED, "run")
    return Daemon(home, "--hooks-allow", "127.0.0.0/8", command=command)
