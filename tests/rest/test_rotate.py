"""``POST /orgs/{OrgId}/secret``: what it asks for, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smsd.domain.errors import Superseded

if TYPE_CHECKING:
    from tests.rest.conftest import Browser, Notes

SECRET = {"X_Secret_Key": "my-secret-key-123"}
NEW = "another-secret-456"


def test_the_new_secret_and_its_grace_are_handed_on_and_the_end_is_told(
    browser: Browser, notes: Notes
) -> None:
    told = {"new_secret_key": NEW, "grace": 3600}
    answer = browser.ask("POST", "/orgs/myorg/secret", json=told, **SECRET)

    until = "2026-01-31T13:00:00+00:00"
    assert answer.json() == {"ok": True, "org_id": "myorg", "old_secret_until": until}
    ((keeper, secret, grace),) = notes.rotated
    assert (keeper.org_id, keeper.address, secret, grace) == ("myorg", "203.0.113.7", NEW, 3600)


def test_without_a_grace_the_old_secret_ends_at_once(browser: Browser, notes: Notes) -> None:
    told = {"secret_key": "my-secret-key-123", "new_secret_key": NEW}
    answer = browser.ask("POST", "/orgs/myorg/secret", json=told)

    assert answer.json()["old_secret_until"] is None
    assert notes.rotated[0][1:] == (NEW, 0)


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({}, "new_secret_key"),
        ({"new_secret_key": "eleven-char"}, "new_secret_key"),
        ({"new_secret_key": "x" * 51}, "new_secret_key"),
        ({"new_secret_key": " space-in-front"}, "new_secret_key"),
        ({"new_secret_key": "control-inside\t-"}, "new_secret_key"),
        ({"new_secret_key": None}, "new_secret_key"),
        ({"new_secret_key": NEW, "grace": -1}, "grace"),
        ({"new_secret_key": NEW, "grace": 31_536_001}, "grace"),
        ({"new_secret_key": NEW, "grace": 0.5}, "grace"),
        ({"new_secret_key": NEW, "grace": "long"}, "grace"),
    ],
)
def test_a_fault_is_told_with_its_place_and_never_the_secret(
    browser: Browser, notes: Notes, told: dict[str, Any], at: str
) -> None:
    answer = browser.ask("POST", "/orgs/myorg/secret", json=told, **SECRET)

    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [[at]]
    assert "eleven" not in answer.body.decode()
    assert notes.rotated == []


def test_an_old_secret_in_its_grace_is_told_that_it_is_one(browser: Browser, notes: Notes) -> None:
    def refuse() -> None:
        raise Superseded

    notes.before = refuse
    answer = browser.ask("POST", "/orgs/myorg/secret", json={"new_secret_key": NEW}, **SECRET)

    assert (answer.status, answer.json()["type"]) == (403, "urn:smsd:problem:superseded")


def test_the_document_tells_of_the_refusal_and_the_bounds(browser: Browser) -> None:
    document: Any = browser.ask("GET", "/openapi.json").json()
    told = document["paths"]["/orgs/{org_id}/secret"]["post"]
    rules = document["components"]["schemas"]["Rotated"]["properties"]

    assert "403" in told["responses"]
    assert (rules["new_secret_key"]["minLength"], rules["grace"]["maximum"]) == (12, 31_536_000)
