"""The program to which the campaign's hooks post: what it believes, how it fails, what it keeps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

import pytest
import requests
from faults.endpoints import FAILURES, REFUSED_AT_MOST, Endpoint, Hook
from faults.journal import Journal
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0" * 4


class Posting:
    """A hook, and whoever posts to it."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.endpoint = Endpoint(self.journal, Random("1"))
        self.endpoint.open()
        self.hook = Hook("org-0", types=("message.received",), id="h", secret=SECRET)
        self.url = self.endpoint.url("org-0", 0)
        self.endpoint.know(self.url, self.hook)

    def post(self, event: int, *, type_: str = "message.received", secret: str = SECRET) -> str:
        """What the endpoint made of it."""
        body = json.dumps({"type": type_, "id": event, "data": {"address": "+1"}})
        path = "/" + self.url.split("/", 3)[3]
        return self.endpoint.answer(path, signed(event, body, secret), body.encode())


def signed(event: int, body: str, secret: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": f"h-{event}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(f"h-{event}", now, body),
    }


@pytest.fixture
def posting() -> Iterator[Posting]:
    posting = Posting()
    yield posting
    posting.endpoint.close()


def test_about_half_of_the_posts_are_taken_and_the_others_fail_in_every_way(
    posting: Posting,
) -> None:
    ways = Counter(posting.post(event) for event in range(1, 401))
    assert set(ways) == {"taken", *FAILURES}
    assert 150 < ways["taken"] < 250
    assert posting.journal.now.posts == {"taken": ways["taken"], "refused": 400 - ways["taken"]}
    assert len(posting.journal.now.taken["org-0/h"]) == ways["taken"]
    assert not posting.journal.now.wrong


def test_no_event_is_refused_until_it_is_given_up(posting: Posting) -> None:
    for event in range(1, 201):
        ways = [posting.post(event) for _ in range(REFUSED_AT_MOST + 1)]
        assert "taken" in ways


def test_one_that_comes_for_the_first_time_after_a_later_one_is_noted(posting: Posting) -> None:
    for event in (5, 7, 5, 6, 7):
        posting.post(event)
    assert posting.journal.now.overtaken == [("org-0/h", 6, 7)]


def test_what_is_not_signed_by_its_hook_or_not_asked_for_is_complained_of(
    posting: Posting,
) -> None:
    posting.post(1, secret="whsec_" + "YW5vdGhl" * 4)
    posting.post(2, type_="ticket.sent")
    assert posting.journal.now.wrong == {
        "a post that nobody signed, or to nobody": 1,
        "a post that its hook does not want": 1,
    }


def test_it_answers_over_http(posting: Posting) -> None:
    posting.hook.met[1] = REFUSED_AT_MOST
    body = json.dumps({"type": "message.received", "id": 1, "data": {"address": "+1"}})
    answer = requests.post(posting.url, data=body, headers=signed(1, body, SECRET), timeout=10)
    assert answer.status_code == 204
    assert requests.post(posting.url, data=b"{}", timeout=10).status_code == 500
