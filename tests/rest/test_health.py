from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.rest.conftest import Browser, Notes


def test_health_tells_that_the_process_runs(browser: Browser) -> None:
    answer = browser.ask("GET", "/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_health_needs_nothing_of_the_gateway(browser: Browser, notes: Notes) -> None:
    notes.lacking = ["the database"]
    assert browser.ask("GET", "/health").status == 200


def test_ready_when_nothing_is_missing(browser: Browser) -> None:
    answer = browser.ask("GET", "/ready")
    assert answer.status == 200
    assert answer.json() == {"status": "ready", "parts": {"listeners": "ok"}}


def test_not_ready_says_what_is_missing(browser: Browser, notes: Notes) -> None:
    notes.lacking = ["the database", "a listener"]
    answer = browser.ask("GET", "/ready")
    assert answer.status == 503
    assert answer.json()["detail"] == "Missing: the database, a listener."
    assert answer.json()["parts"] == {
        "listeners": "ok",
        "part 0": "the database",
        "part 1": "a listener",
    }
    assert answer.headers["retry-after"] == "5"
