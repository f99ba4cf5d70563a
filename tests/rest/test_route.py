"""What every route of the list keeps: who may call it, in which order things are judged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from smsd.domain.errors import Locked, TooMany, Unavailable
from smsd.gateway.doorman import Caller
from smsd.rest.api import ROUTES, Api
from smsd.rest.identity import Identity
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Answer, Browser, Notes

SECRET, OTHER_SECRET = "my-secret-key-123", "other-secret-key-9"

BODIES: dict[str, dict[str, Any]] = {
    "/webhook": {"messages": []},
    "/send/<org_id>": {"to": "+15553334444", "body": "hi"},
    "/ask/<org_id>": {"to": "+15553334444", "body": "hi?"},
    "/orgs/<org_id>/secret": {"new_secret_key": "another-secret-456"},
    "/paces/<org_id>": {"max_per_minute": 5},
    "/optouts/<org_id>": {"enabled": True},
    "/keys/<org_id>": {"name": "one", "scopes": ["read"]},
    "/hooks/<org_id>": {"url": "https://app.example.com/sms"},
    "/hooks/<org_id>/<id>": {"enabled": True},
    "/hooks/<org_id>/<id>/test": {},
    "/hooks/<org_id>/<id>/replay": {"since": 41},
    "/hooks/<org_id>/<id>/rotate": {},
}
GUARDED = [
    pytest.param(route.method, path, id=f"{route.method} {path}")
    for route in ROUTES
    for path in route.paths
    if route.identity is not Identity.NONE
]
POSTS = [("/webhook", "/webhook"), ("/send/<org_id>", "/send/myorg")]


def call(browser: Browser, method: str, path: str, org: str, secret: str | None) -> Answer:
    """Call a route as ``org`` with this secret, in the path where the path has a place for it."""
    filled = path.replace("<org_id>", org).replace("<secret_key>", secret or "none-at-all-x")
    filled = filled.replace("<id>", "3f9a0c51e7d2").replace("<ticket>", "5")
    filled = filled.replace("<number>", "+1555")
    takes = method in ("POST", "PATCH") or (method == "PUT" and path in BODIES)
    body = {"org_id": org, **BODIES[path]} if takes else None
    headers = {} if secret is None or "<secret_key>" in path else {"X_Secret_Key": secret}
    query = "?address=%2B1555" if method == "DELETE" else ""
    return browser.ask(method, filled + query, json=body, **headers)


# ---- who may call ----


def test_every_post_has_a_body_here() -> None:
    assert {path for route in ROUTES if route.body for path in route.paths} == set(BODIES)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_the_right_secret_opens(browser: Browser, method: str, path: str) -> None:
    assert call(browser, method, path, "myorg", SECRET).status == 200


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_a_secret_it_is_401(browser: Browser, method: str, path: str) -> None:
    answer = call(browser, method, path, "myorg", None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'X-Secret-Key realm="smsd"'


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_with_the_secret_of_another_org_it_is_401(
    browser: Browser, notes: Notes, method: str, path: str
) -> None:
    assert call(browser, method, path, "myorg", OTHER_SECRET).status == 401
    assert notes.stored == notes.accepted == notes.read == notes.rotated == []


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_caller_gets_its_own_org(browser: Browser, notes: Notes, method: str, path: str) -> None:
    call(browser, method, path, "other", OTHER_SECRET)
    for seen in (*notes.stored, *notes.accepted, *notes.read):
        assert seen[0] == Caller("other")


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_only_the_webhook_may_claim(browser: Browser, notes: Notes, method: str, path: str) -> None:
    call(browser, method, path, "fresh", SECRET)
    assert [claim for _, _, claim, _ in notes.attempts] == [path == "/webhook"]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    ("problem", "status", "wait"),
    [
        (Locked(retry_after=300), 429, "300"),
        (TooMany(), 429, "5"),
        (Unavailable(), 503, "5"),
    ],
    ids=["locked", "too many", "unavailable"],
)
def test_what_passes_says_when_to_come_again(
    browser: Browser, notes: Notes, method: str, path: str, problem: Any, status: int, wait: str
) -> None:
    def refuse() -> None:
        raise problem

    notes.before = refuse
    answer = call(browser, method, path, "myorg", SECRET)
    assert (answer.status, answer.headers["retry-after"]) == (status, wait)


# ---- where the identity may be ----


@pytest.mark.parametrize(
    "place",
    [
        {"json": {"org_id": "myorg", "secret_key": SECRET}},
        {"json": {"org_id": "myorg"}, "X_Secret_Key": SECRET},
        {"json": {"secret_key": SECRET}, "X_Org_Id": "myorg"},
        {"json": {}, "X_Org_Id": "myorg", "X_Secret_Key": SECRET},
        {
            "json": {"org_id": "myorg", "secret_key": SECRET},
            "X_Org_Id": "myorg",
            "X_Secret_Key": SECRET,
        },
        {"json": {"org_id": None, "secret_key": None}, "X_Org_Id": "myorg", "X_Secret_Key": SECRET},
    ],
)
def test_it_may_be_in_the_body_or_in_headers(browser: Browser, place: dict[str, Any]) -> None:
    json = {"messages": [], **place.pop("json")}
    assert browser.ask("POST", "/webhook", json=json, **place).status == 200


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/webhook", {"json": {"org_id": "myorg", "secret_key": SECRET}, "X_Org_Id": "other"}),
        ("/webhook", {"json": {"org_id": "myorg", "secret_key": SECRET}, "X_Secret_Key": "a"}),
        ("/send/myorg", {"json": {"org_id": "other", "secret_key": SECRET}}),
        (f"/messages/myorg/{SECRET}", {"X_Secret_Key": OTHER_SECRET}),
        ("/sims/myorg", {"X_Org_Id": "other", "X_Secret_Key": SECRET}),
    ],
)
def test_two_different_identities_are_a_contradiction(
    browser: Browser, notes: Notes, path: str, place: dict[str, Any]
) -> None:
    answer = browser.ask("POST" if "json" in place else "GET", path, **place)
    assert (answer.status, answer.json()["type"]) == (
        400,
        "urn:smsd:problem:contradictory_identity",
    )
    assert notes.attempts == []


def test_a_header_that_comes_twice_with_two_values_is_a_contradiction(browser: Browser) -> None:
    wire = browser.wire()
    head = browser.raw("GET", "/sims/myorg", X_Secret_Key=SECRET)
    wire.send(head.replace(b"\r\n\r\n", b"\r\nX-Secret-Key: other\r\n\r\n"))
    assert wire.answer().status == 400


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a%2Fb%2Fc%2Fd%2Fe%2Ff", "a/b/c/d/e/f"),
        ("%6dy-secret-key-123", SECRET),
        ("with%20spaces+and%2Bplus", "with spaces+and+plus"),
        ("schl%C3%BCssel-123456", "schlüssel-123456"),
        ("percent%2525percent", "percent%25percent"),
        ("question%3Fmark-123", "question?mark-123"),
    ],
)
def test_a_secret_in_a_path_is_decoded_after_the_path_is_split(
    browser: Browser, notes: Notes, written: str, meant: str
) -> None:
    for path in (f"/messages/myorg/{written}", f"/sims/myorg/{written}/"):
        browser.ask("GET", path)
    assert [each.secret for each, *_ in notes.attempts] == [meant, meant]


def test_a_secret_in_a_header_is_utf8(browser: Browser, notes: Notes) -> None:
    secret = "schlüssel-123456"
    browser.ask("GET", "/sims/myorg", X_Secret_Key=secret.encode().decode("latin-1"))
    assert notes.attempts[0][0].secret == secret


@pytest.mark.parametrize("path", ["/sims/myorg/schl%FCssel-123456", "/sims/%ff%fe%fd/x"])
def test_what_is_not_utf8_in_a_path_has_a_shape_that_no_identity_has(
    browser: Browser, notes: Notes, path: str
) -> None:
    assert browser.ask("GET", path).status == 401
    assert notes.attempts[0][0].faults()


def test_a_latin1_secret_in_a_header_cannot_claim(browser: Browser, notes: Notes) -> None:
    answer = browser.ask(
        "POST", "/webhook", json={"org_id": "fresh", "messages": []}, X_Secret_Key="schlüssel-12345"
    )
    assert answer.status == 422
    assert answer.json()["errors"][0]["loc"] == ["secret_key"]
    assert notes.stored == []


@pytest.mark.parametrize("path", ["/messages/a%00b", "/messages/myorg/a%00b", "/sims/a%2Fb"])
def test_odd_bytes_in_an_identity_are_only_a_wrong_identity(browser: Browser, path: str) -> None:
    assert browser.ask("GET", path, X_Secret_Key="a\tb").status in (400, 401)


@pytest.mark.parametrize("value", [5, True, ["x"], {"a": 1}, 1.5])
def test_an_identity_that_is_not_text_is_given_and_wrong(
    browser: Browser, notes: Notes, value: object
) -> None:
    body = {"org_id": "myorg", "secret_key": value, "messages": []}
    assert browser.ask("POST", "/webhook", json=body).status == 401
    assert notes.attempts[0][0].secret == ""


def test_a_secret_in_a_path_is_warned_of_once_an_org_and_never_shown(
    browser: Browser, log: list[Any]
) -> None:
    for path in ("/messages", "/sims", "/messages"):
        browser.ask("GET", f"{path}/myorg/{SECRET}")
    browser.ask("GET", "/sims/other/wrong-secret-key")
    assert [event["org"] for event in log] == ["myorg"]
    assert SECRET not in repr(log)


def test_the_address_is_the_peers(browser: Browser, notes: Notes) -> None:
    browser.ask("GET", "/sims/myorg", X_Forwarded_For="198.51.100.1")
    assert notes.attempts[0][1] == "203.0.113.7"


# ---- the order of judging ----


@pytest.mark.parametrize("path", [each[1] for each in POSTS])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b"{'a':1}",
        b'{"a":1}x',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 33 + b"]" * 33 + b"}",
        b"to=1&body=2",
    ],
)
def test_what_is_not_a_json_object_is_400_for_everybody(
    browser: Browser, notes: Notes, path: str, body: bytes
) -> None:
    answer = browser.ask("POST", path, body=body, X_Secret_Key=SECRET, X_Org_Id="myorg")
    assert answer.status == 400
    assert answer.json()["type"] == "urn:smsd:problem:not_json"
    assert notes.attempts == []


@pytest.mark.parametrize(("path", "url"), POSTS)
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=utf-8",
        'text/plain; charset="UTF-8"',
        "x;;;",
        "",
    ],
)
def test_a_body_is_json_whatever_its_type_says(
    browser: Browser, path: str, url: str, kind: str
) -> None:
    body = {"org_id": "myorg", "secret_key": SECRET, **BODIES[path]}
    assert browser.ask("POST", url, json=body, Content_Type=kind).status == 200


@pytest.mark.parametrize(
    "header",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "br, gzip"},
        {"Content_Type": "application/json; charset=iso-8859-1"},
        {"Content_Type": "application/json;charset='utf-16'"},
    ],
)
def test_an_encoded_body_is_415(browser: Browser, notes: Notes, header: dict[str, str]) -> None:
    assert browser.ask("POST", "/webhook", body=b"\x1f\x8b", **header).status == 415
    assert notes.attempts == []


@pytest.mark.parametrize(("path", "url"), POSTS)
def test_a_stranger_is_not_told_what_is_wrong_with_a_body(
    browser: Browser, path: str, url: str
) -> None:
    wrong = {"org_id": "myorg", "secret_key": "wrong-secret-key", "messages": [5], "to": 5}
    assert browser.ask("POST", url, json=wrong).status == 401


def test_a_stranger_is_not_told_what_is_wrong_with_a_query(browser: Browser) -> None:
    assert browser.ask("GET", "/messages/myorg/wrong-secret-key?limit=0").status == 401


@pytest.mark.parametrize(("path", "url"), POSTS)
def test_every_fault_is_listed_with_its_place(
    browser: Browser, notes: Notes, path: str, url: str
) -> None:
    wrong = [{"address": 5, "to": "x", "body": "\0" * 70_000}, 5, {}]
    body = {"org_id": "myorg", "secret_key": SECRET, "messages": wrong}
    answer = browser.ask("POST", url, json=body)
    assert answer.status == 422
    name = "address" if path == "/webhook" else "to"
    assert [tuple(fault["loc"]) for fault in answer.json()["errors"]] == [
        ("messages", 0, name),
        ("messages", 0, "body"),
        ("messages", 1),
        ("messages", 2, name),
        ("messages", 2, "body"),
    ]
    assert all(fault["msg"] for fault in answer.json()["errors"])
    assert notes.stored == notes.accepted == []


# ---- paths and methods ----


@pytest.mark.parametrize(
    "path", ["/health/", "/messages/myorg/", f"/messages/myorg/{SECRET}/", "/sims/myorg/"]
)
def test_a_trailing_slash_is_the_same_path(browser: Browser, path: str) -> None:
    assert browser.ask("GET", path, X_Secret_Key=SECRET).status == 200


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/messages", "/messages/a/b/c", "/send", "/HEALTH", "/health/x", "/sims//x"],
)
def test_an_unknown_path_is_404(browser: Browser, path: str) -> None:
    answer = browser.ask("GET", path)
    assert (answer.status, answer.json()["type"]) == (404, "urn:smsd:problem:not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/messages/myorg", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/webhook", "OPTIONS, POST"),
        ("PUT", "/send/myorg/", "OPTIONS, POST"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_405(
    browser: Browser, method: str, path: str, allowed: str
) -> None:
    answer = browser.ask(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["type"] == "urn:smsd:problem:method_not_allowed"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/webhook", "OPTIONS, POST"),
        ("/send/myorg/", "OPTIONS, POST"),
        ("*", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ],
)
def test_options_lists_what_a_path_takes(browser: Browser, path: str, allowed: str) -> None:
    answer = browser.ask("OPTIONS", path)
    assert (answer.status, answer.body, answer.headers["allow"]) == (204, b"", allowed)


# ---- bugs of ours ----


def test_a_bug_is_told_by_nothing_but_an_incident_that_is_in_the_log(
    browser: Browser, notes: Notes, log: list[Any]
) -> None:
    def stumble() -> None:
        raise KeyError(SECRET)

    notes.before = stumble
    answer = browser.ask("GET", f"/messages/myorg/{SECRET}?address=5551")
    assert answer.status == 500
    told = answer.json()
    assert set(told) == {"type", "title", "status", "incident"}
    event = log.pop()
    assert event["incident"] == told["incident"]
    assert re.search(r"builtins.KeyError\n.*in stumble", event["way"], re.DOTALL)
    assert SECRET not in repr(event)
    assert "5551" not in repr(event)


def test_a_bug_after_the_client_hung_up_is_in_the_log_all_the_same(
    browser: Browser, notes: Notes, log: list[Any]
) -> None:
    wire = browser.wire()

    def stumble() -> None:
        wire.socket.lost()
        raise RuntimeError

    notes.before = stumble
    wire.ask("GET", "/messages/myorg", X_Secret_Key=SECRET)
    assert "RuntimeError" in log.pop()["way"]
    assert log == []


# ---- what is counted ----


def counted(api: Api) -> dict[str, dict[int, int]]:
    """The answers by status, of routes that gave any."""
    return {f"{t.method} {t.route}": t.statuses for t in api.tallies if t.statuses}


def test_answers_are_counted_for_their_route_and_never_for_their_path(
    browser: Browser, api: Api
) -> None:
    browser.ask("GET", f"/messages/myorg/{SECRET}")
    browser.ask("GET", f"/messages/other/{SECRET}/")
    browser.ask("HEAD", "/health")
    browser.ask("POST", "/webhook", body=b"no JSON")
    assert counted(api) == {
        "GET /messages/<org_id>/<secret_key>": {200: 1, 401: 1},
        "GET /health": {200: 1},
        "POST /webhook": {400: 1},
    }


def test_the_time_of_an_answer_is_that_of_the_clock(
    notes: Notes, browser: Browser, clock: Clock
) -> None:
    api = Api(notes.services(), clock=clock.seconds)
    browser.site = Site(api, clock)
    notes.before = lambda: clock.advance(3)
    browser.ask("GET", "/messages/myorg", X_Secret_Key=SECRET)
    (tally,) = (t for t in api.tallies if t.statuses)
    assert (tally.seconds.total, tally.seconds.at_most[-2:]) == (3.0, [0, 1])


def test_what_is_for_no_route_is_counted_by_its_status_alone(
    browser: Browser, api: Api, site: Site
) -> None:
    browser.ask("GET", "/nowhere")
    browser.ask("PUT", "/webhook")
    browser.ask("OPTIONS", "/webhook")
    browser.wire().send(b"not HTTP at all\r\n\r\n")
    assert counted(api) == {}
    assert (api.strays, site.refusals) == ({404: 1, 405: 1, 204: 1}, {400: 1})
