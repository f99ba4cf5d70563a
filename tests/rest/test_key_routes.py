"""API keys over HTTP: what opens with them, what refusals say, how they are made and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smsd.domain.keys import SCOPES, Key
from smsd.gateway.doorman import Caller
from smsd.rest.api import ROUTES
from smsd.rest.identity import Identity
from smsd.rest.route import route
from smsd.store.keys import NewKey

if TYPE_CHECKING:
    from tests.rest.conftest import Answer, Browser, Notes, Wire

SECRET = {"X_Secret_Key": "my-secret-key-123"}
TEXT = "smsd_" + "a" * 43
BEARER = {"Authorization": f"Bearer {TEXT}"}
ASKED = {"name": "one", "scopes": ["send"]}
BODIES: dict[str, Any] = {
    "/webhook": {"org_id": "myorg", "messages": []},
    "/send/<org_id>": {"to": "+15553334444", "body": "hi"},
    "/ask/<org_id>": {"to": "+15553334444", "body": "hi?"},
    "/orgs/<org_id>/secret": {"new_secret_key": "another-secret-456"},
    "/paces/<org_id>": {"max_per_minute": 5},
    "/optouts/<org_id>": {"enabled": True},
    "/keys/<org_id>": ASKED,
    "/hooks/<org_id>": {"url": "https://app.example.com/sms"},
    "/hooks/<org_id>/<id>": {"enabled": True},
    "/hooks/<org_id>/<id>/test": {},
    "/hooks/<org_id>/<id>/replay": {"since": 41},
    "/hooks/<org_id>/<id>/rotate": {},
}
GUARDED = [
    pytest.param(each, id=f"{each.method} {each.paths[0]}")
    for each in ROUTES
    if each.identity is not Identity.NONE
]
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Version": "13",
}


def good_for(notes: Notes, *scopes: Any) -> None:
    notes.keys[TEXT] = Key("myorg", "3f9a0c51e7d2", scopes)


def call(browser: Browser, each: Any, org: str = "myorg", **headers: str) -> Answer:
    path = (
        each.paths[0]
        .replace("<org_id>", org)
        .replace("<id>", "3f9a0c51e7d2")
        .replace("<ticket>", "5")
        .replace("<number>", "+1555")
    )
    query = "?address=1555" if each.query and each.method == "DELETE" else ""
    body = BODIES[each.paths[0]] if each.body else None
    if body is not None and "org_id" in body:
        body = {**body, "org_id": org}
    return browser.ask(each.method, path + query, json=body, **headers)


# -- what opens with them --------------------------------------------------------------------


@pytest.mark.parametrize("each", GUARDED)
def test_every_route_opens_to_a_key_with_its_scopes_alone(
    browser: Browser, notes: Notes, each: Any
) -> None:
    good_for(notes, *(each.scopes or ()))
    answer = call(browser, each, **BEARER)
    assert answer.status == (403 if each.scopes is None else 200)
    assert notes.attempts == []


@pytest.mark.parametrize("each", GUARDED)
def test_without_its_scope_it_is_a_403_that_names_it(
    browser: Browser, notes: Notes, each: Any
) -> None:
    good_for(notes, *(scope for scope in SCOPES if scope not in (each.scopes or ())))
    answer = call(browser, each, **BEARER)
    assert (answer.status, answer.json()["type"]) == (403, "urn:smsd:problem:missing_scope")
    challenge = 'Bearer realm="smsd", error="insufficient_scope"'
    if each.scopes is None:
        assert "SecretKey" in answer.json()["detail"]
        assert answer.headers["www-authenticate"] == challenge
    else:
        assert " and ".join(each.scopes) in answer.json()["detail"]
        assert answer.headers["www-authenticate"] == f'{challenge}, scope="{" ".join(each.scopes)}"'
    assert notes.stored == notes.accepted == notes.read == notes.rotated == notes.made == []


@pytest.mark.parametrize("each", GUARDED)
@pytest.mark.parametrize(("org", "text"), [("myorg", "smsd_wrong"), ("other", TEXT)])
def test_a_wrong_key_or_another_org_is_a_401_that_asks_for_a_better_one(
    browser: Browser, notes: Notes, each: Any, org: str, text: str
) -> None:
    good_for(notes, *SCOPES)
    answer = call(browser, each, org, Authorization=f"Bearer {text}")
    assert (answer.status, answer.json()["type"]) == (401, "urn:smsd:problem:wrong_key")
    assert answer.headers["www-authenticate"] == 'Bearer realm="smsd", error="invalid_token"'
    assert text not in answer.body.decode()
    assert notes.attempts == []


def test_whoever_has_a_key_is_a_caller_that_says_so(browser: Browser, notes: Notes) -> None:
    good_for(notes, "send")
    browser.ask("POST", "/send/myorg", json={"to": "+1555", "body": "x"}, **BEARER)
    assert notes.accepted[0][0] == Caller("myorg", notes.keys[TEXT])


def test_a_route_that_forgets_its_scopes_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="GET /new must say which scopes"):
        route("GET", "/new", identity=Identity.MEMBER, answer=dict)
    route("GET", "/new", identity=Identity.NONE, answer=dict)


def test_the_document_names_the_scopes_of_every_route(browser: Browser) -> None:
    document: Any = browser.ask("GET", "/openapi.json").json()
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for each in (param.values[0] for param in GUARDED):
        path = each.paths[0].replace("<", "{").replace(">", "}")
        security = document["paths"][path][each.method.lower()]["security"]
        told = [entry["ApiKey"] for entry in security if "ApiKey" in entry]
        assert told == ([] if each.scopes is None else [list(each.scopes)])


# -- where a key may be ----------------------------------------------------------------------


@pytest.mark.parametrize("said", ["Bearer {}", "bearer {}", "BEARER   {}", "Bearer {} "])
def test_the_scheme_may_be_spelt_as_http_allows(browser: Browser, notes: Notes, said: str) -> None:
    good_for(notes, "read")
    answer = browser.ask("GET", "/sims/myorg", Authorization=said.format(TEXT))
    assert answer.status == 200
    assert notes.opened == [("myorg", TEXT, ("read",))]


@pytest.mark.parametrize(
    "said", ["Basic dXNlcjpwYXNz", "Bearer eyJhbGciOi.x", "Bearer", "", f"Token {TEXT}", TEXT]
)
def test_what_a_proxy_puts_there_changes_nothing(browser: Browser, notes: Notes, said: str) -> None:
    assert browser.ask("GET", "/sims/myorg", Authorization=said, **SECRET).status == 200
    refused = browser.ask("GET", "/sims/myorg", Authorization=said)
    assert refused.headers["www-authenticate"] == 'X-Secret-Key realm="smsd"'
    assert notes.opened == []


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/sims/myorg", SECRET),
        ("/sims/myorg/my-secret-key-123", {}),
        ("/sims/myorg", {"X_Org_Id": "other"}),
        ("/sims/myorg", {"AUTHORIZATION": "Bearer smsd_another"}),
    ],
)
def test_a_key_and_another_identity_are_a_contradiction(
    browser: Browser, notes: Notes, path: str, more: dict[str, str]
) -> None:
    good_for(notes, "read")
    assert browser.ask("GET", path, **BEARER, **more).status == 400
    assert notes.opened == notes.attempts == []


def test_the_secret_in_a_body_beside_a_key_is_a_contradiction(
    browser: Browser, notes: Notes
) -> None:
    good_for(notes, "send")
    told = {"to": "+1555", "body": "x", "secret_key": "my-secret-key-123"}
    assert browser.ask("POST", "/send/myorg", json=told, **BEARER).status == 400
    assert notes.accepted == []


def test_a_key_claims_nothing(browser: Browser, notes: Notes) -> None:
    told = {"org_id": "fresh", "messages": []}
    assert browser.ask("POST", "/webhook", json=told, **BEARER).status == 401
    assert notes.stored == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/websocket?org_id=myorg", BEARER),
        ("/websocket", {**BEARER, "X_Org_Id": "myorg"}),
        (f"/websocket?org_id=myorg&key={TEXT}", {}),
        (f"/websocket?org_id=myorg&key={TEXT}", BEARER),
    ],
)
def test_a_phone_comes_in_with_a_key(
    wire: Wire, notes: Notes, path: str, headers: dict[str, str]
) -> None:
    good_for(notes, "phone")
    wire.ask("GET", path, **headers, **HANDSHAKE)
    assert notes.upgraded[0][1] == Caller("myorg", notes.keys[TEXT])
    assert notes.opened == [("myorg", TEXT, ("phone",))]


@pytest.mark.parametrize(
    ("scopes", "path", "status"),
    [
        (("read", "send", "hooks"), f"?org_id=myorg&key={TEXT}", 403),
        (("phone",), f"?org_id=other&key={TEXT}", 401),
        (("phone",), f"?key={TEXT}", 401),
        (("phone",), "?org_id=myorg&key=smsd_wrong", 401),
        (("phone",), f"?org_id=myorg&key={TEXT}&secret_key=my-secret-key-123", 400),
        (("phone",), f"?org_id=myorg&key={TEXT}&key=smsd_another", 400),
    ],
)
def test_a_phone_with_a_key_that_does_not_open_is_refused_before_the_upgrade(
    browser: Browser, notes: Notes, scopes: Any, path: str, status: int
) -> None:
    good_for(notes, *scopes)
    assert browser.ask("GET", f"/websocket{path}", **HANDSHAKE).status == status
    assert notes.upgraded == notes.attempts == []


def test_what_is_no_key_in_a_phones_url_is_nobodys(wire: Wire, notes: Notes) -> None:
    path = "/websocket?org_id=myorg&secret_key=my-secret-key-123&key=5"
    wire.ask("GET", path, **HANDSHAKE)
    assert notes.upgraded[0][1] == Caller("myorg")


# -- made, seen, deleted ---------------------------------------------------------------------


def test_a_key_is_made_as_it_is_asked_for_and_shown_once(browser: Browser, notes: Notes) -> None:
    told = {
        "name": "the shop",
        "scopes": ["send", "read", "send"],
        "expires_in": 60,
        "segments_a_day": 5,
        "to_prefixes": ["+1555", "+", "+1555"],
    }
    answer = browser.ask("POST", "/keys/myorg", json=told, **SECRET)
    assert answer.json()["key"] == "smsd_" + "k" * 43
    assert (answer.json()["org_id"], answer.json()["id"]) == ("myorg", "3f9a0c51e7d2")
    ((keeper, new),) = notes.made
    assert keeper.org_id == "myorg"
    assert new == NewKey(
        name="the shop",
        scopes=("read", "send"),
        to_prefixes=("+1555", "+"),
        segments_a_day=5,
        expires_in=60,
    )


def test_keys_are_listed_and_shown_without_what_opens_anything(browser: Browser) -> None:
    listed = browser.ask("GET", "/keys/myorg", **SECRET)
    shown = browser.ask("GET", "/keys/myorg/3f9a0c51e7d2", **SECRET)
    assert (listed.json()["count"], listed.json()["keys"][0]["segments_today"]) == (1, 2)
    assert (shown.json()["id"], shown.json()["created_at"]) == (
        "3f9a0c51e7d2",
        "2026-01-31T12:00:00+00:00",
    )
    assert "smsd_" not in listed.body.decode() + shown.body.decode()


def test_a_key_is_deleted_by_its_id(browser: Browser, notes: Notes) -> None:
    answer = browser.ask("DELETE", "/keys/myorg/3f9a0c51e7d2", **SECRET)
    assert answer.json() == {"ok": True, "org_id": "myorg", "id": "3f9a0c51e7d2"}
    assert notes.deleted == [(Caller("myorg"), "3f9a0c51e7d2")]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_one_that_is_not_there_is_a_404(browser: Browser, method: str) -> None:
    answer = browser.ask(method, "/keys/myorg/unknown", **SECRET)
    assert (answer.status, answer.json()["type"]) == (404, "urn:smsd:problem:unknown_key")


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"name": None}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "x" * 65}, ["name"]),
        ({"name": "two\nlines"}, ["name"]),
        ({"scopes": []}, ["scopes"]),
        ({"scopes": "send"}, ["scopes"]),
        ({"scopes": ["everything"]}, ["scopes"]),
        ({"expires_in": 0}, ["expires_in"]),
        ({"expires_in": 315_360_001}, ["expires_in"]),
        ({"segments_a_day": 0}, ["segments_a_day"]),
        ({"segments_a_day": "many"}, ["segments_a_day"]),
        ({"to_prefixes": ["home"]}, ["to_prefixes"]),
        ({"to_prefixes": ["+1 555"]}, ["to_prefixes"]),
        ({"to_prefixes": ["+1"] * 101}, ["to_prefixes"]),
        ({"scopes": ["read"], "segments_a_day": 5}, []),
        ({"scopes": ["read"], "to_prefixes": ["+1"]}, []),
    ],
)
def test_a_fault_is_told_with_its_place_and_makes_nothing(
    browser: Browser, notes: Notes, wrong: dict[str, Any], at: list[Any]
) -> None:
    answer = browser.ask("POST", "/keys/myorg", json={**ASKED, **wrong}, **SECRET)
    assert answer.status == 422
    assert [fault["loc"] for fault in answer.json()["errors"]] == [at]
    assert notes.made == []
