from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smsd.rest.api import Api
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Answer, Browser, Notes

APP = "https://app.example"


def ask(notes: Notes, clock: Clock, browser: Browser, origins: list[str], origin: str) -> Answer:
    browser.site = Site(Api(notes.services(), origins=origins), clock)
    return browser.ask("OPTIONS", "/send/myorg", Origin=origin)


def test_by_default_no_page_may_read_answers(browser: Browser) -> None:
    answer = browser.ask("OPTIONS", "/send/myorg", Origin=APP)
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "vary" not in answer.headers


@pytest.mark.parametrize(("origins", "told"), [([APP], APP), (["*"], "*"), ([APP, "*"], "*")])
def test_an_allowed_page_is_told_what_it_may_send(
    notes: Notes, clock: Clock, browser: Browser, origins: list[str], told: str
) -> None:
    headers = ask(notes, clock, browser, origins, APP).headers
    assert headers["access-control-allow-origin"] == told
    assert headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
    expected = {"Authorization", "Content-Type", "X-Secret-Key", "X-Org-Id", "X-Request-Id"}
    assert expected | {"Idempotency-Key"} <= set(
        headers["access-control-allow-headers"].split(", ")
    )
    assert headers["vary"] == "Origin"


def test_another_page_is_told_nothing(notes: Notes, clock: Clock, browser: Browser) -> None:
    headers = ask(notes, clock, browser, [APP], "https://evil.example").headers
    assert not [name for name in headers if name.startswith("access-control")]
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("path", ["/health", "/sims/myorg", "/nothing", "/webhook"])
def test_an_allowed_page_may_read_every_answer_errors_too(
    notes: Notes, clock: Clock, browser: Browser, path: str
) -> None:
    browser.site = Site(Api(notes.services(), origins=[APP]), clock)
    headers = browser.ask("GET", path, Origin=APP).headers
    assert headers["access-control-allow-origin"] == APP
    assert headers["access-control-expose-headers"] == (
        "Retry-After, X-Request-Id, Idempotent-Replayed"
    )
