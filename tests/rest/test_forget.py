"""``DELETE /messages``: what it asks for, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.rest.conftest import Browser, Notes

SECRET = {"X_Secret_Key": "my-secret-key-123"}


def test_who_is_forgotten_is_told_and_how_many_messages(browser: Browser, notes: Notes) -> None:
    answer = browser.ask("DELETE", "/messages/myorg?address=%2B15551112222", **SECRET)

    assert answer.json() == {"ok": True, "org_id": "myorg", "deleted": 1}
    ((caller, address),) = notes.forgotten
    assert (caller.org_id, address) == ("myorg", "+15551112222")


@pytest.mark.parametrize("query", ["", "?", "?limit=5", "?address=", "?address=+", "?address=%00"])
def test_nobody_in_particular_cannot_be_forgotten(
    browser: Browser, notes: Notes, query: str
) -> None:
    answer = browser.ask("DELETE", f"/messages/myorg{query}", **SECRET)

    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [["address"]]
    assert notes.forgotten == []


def test_the_document_says_that_the_address_is_needed(browser: Browser) -> None:
    told: Any = browser.ask("GET", "/openapi.json").json()["paths"]["/messages/{org_id}"]

    (address,) = (p for p in told["delete"]["parameters"] if p["in"] == "query")
    assert (address["name"], address["required"]) == ("address", True)
    assert not any("required" in p for p in told["get"]["parameters"] if p["in"] == "query")
