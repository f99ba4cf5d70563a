"""The forms of HTTP (contract section 2): errors, methods, limits, CORS, health and the pages."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any
from urllib.parse import urljoin

import pytest
from canaries import canaries
from daemon import Daemon
from openapi_spec_validator import OpenAPIV31SpecValidator
from visitors import Agent, Org, exchange, new_address, problem

pytestmark = pytest.mark.whole

ORIGIN = "https://app.example"
MEBIBYTE = 1 << 20


def post(org: Org, body: bytes, **headers: str) -> Any:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return org.agent.post(f"/send/{org.id}", data=body, headers=headers)


def good_body() -> bytes:
    return json.dumps({"to": canaries.number(), "body": canaries.text()}).encode()


# -- bodies --


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=UTF-8", ""],
)
def test_a_body_is_json_whatever_its_type_is_called(org: Org, kind: str) -> None:
    assert post(org, good_body(), Content_Type=kind).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Content_Type": 'application/json; charset="utf-16"'},
    ],
)
def test_a_body_in_another_coding_is_415(org: Org, headers: dict[str, str]) -> None:
    problem(post(org, gzip.compress(good_body()), **headers), 415)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"text"', b"5", b"null", b"nonsense", b"{'to': 1}", b'{"a":NaN}'),
        *(b'{"a":Infinity}', b"[" * 5000, b'{"a":' * 5000, b'\xff{"a":1}', b'{"a":1}trailing'),
        '{"a":1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a":1}',
    ],
)
def test_what_is_no_json_object_is_400(org: Org, body: bytes) -> None:
    problem(post(org, body), 400)


def test_a_body_of_one_mebibyte_is_read_and_one_byte_more_is_413(org: Org) -> None:
    body = good_body()
    padded = body + b" " * (MEBIBYTE - len(body))
    assert post(org, padded).status_code == 200
    problem(post(org, padded + b" "), 413)


def test_a_chunked_body_has_the_same_limit(org: Org) -> None:
    assert org.agent.post(f"/send/{org.id}", data=iter([good_body()])).status_code == 200
    head = f"POST /send/{org.id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange(org.url, head.encode() + b"100001\r\n" + b" " * (MEBIBYTE + 1))
    assert answer.status == 413


def test_unknown_fields_are_ignored(org: Org) -> None:
    assert org.send(colour="red", nested={"a": [1]})["queued"] == 1
    assert org.store(org.sms(colour="red")).json()["stored"] == 1


# -- paths and methods --


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/messages", "/send", "/sims/", "/send/{org}/{org}", "/messages/a/b/c"),
        *("/Health", "/health//x", "/docs/more", "/static/", "/static/../setup.cfg", "/%68ealth/x"),
        *("/static/%2e%2e/pages.py", "/openapi.json/x", "/robots.txt"),
    ],
)
def test_no_such_path_is_404(org: Org, path: str) -> None:
    told = exchange(org.url, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".format(org=org.id).encode())
    assert (told.status, told.headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/webhook", {"POST", "OPTIONS"}),
        ("PUT", "/webhook", {"POST", "OPTIONS"}),
        ("GET", "/send/an-org", {"POST", "OPTIONS"}),
        ("POST", "/messages/an-org", {"DELETE", "GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/messages/an-org/a-secret-key-of-it", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", "/sims/an-org", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/websocket", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("PROPFIND", "/health", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_and_allow_says_which(
    agent: Agent, method: str, path: str, allowed: set[str]
) -> None:
    answer = agent.request(method, path)
    problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path",
    ["/webhook", "/messages/an-org", "/send/an-org", "/sims/an-org", "/health", "/", "/docs"],
)
def test_options_is_204_with_allow_and_no_body(agent: Agent, path: str) -> None:
    answer = agent.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "OPTIONS" in answer.headers["Allow"]
    assert "Content-Length" not in answer.headers


def test_options_of_a_path_that_is_not_there_is_404(agent: Agent) -> None:
    problem(agent.options("/nothing"), 404)


@pytest.mark.parametrize("path", ["/health", "/", "/openapi.json", "/nothing", "/messages/no-org"])
def test_head_is_get_without_the_body(agent: Agent, path: str) -> None:
    plain = {"Accept-Encoding": "identity"}
    got, head = agent.get(path, headers=plain), agent.head(path, headers=plain)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == got.headers[name]


def test_a_trailing_slash_is_the_same_path(org: Org) -> None:
    org.store(org.sms())
    for path in ("/health/", "/ready/", "/docs/", f"/messages/{org.id}/", f"/sims/{org.id}/"):
        assert org.agent.get(path, allow_redirects=False).status_code == 200
    assert org.agent.get(f"/messages/{org.path_form}/").json()["count"] == 1
    assert org.agent.post("/webhook/", json={"org_id": org.id, "messages": []}).status_code == 200
    draft = {"to": canaries.number(), "body": canaries.text()}
    assert org.agent.post(f"/send/{org.id}/", json=draft).status_code == 200


def test_path_parts_are_decoded(org: Org) -> None:
    coded = "".join(f"%{ord(letter):02X}" for letter in org.id)
    assert org.agent.get(f"/messages/{coded}?%6Cimit=5").json()["org_id"] == org.id


def test_every_answer_keeps_out_of_caches_and_referrers(org: Org) -> None:
    for answer in (org.agent.get(f"/messages/{org.id}"), org.agent.get("/nothing")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Twisted" not in str(answer.headers)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", 400),
        (
            b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
            400,
        ),
        (b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\n\r\n", 413),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
    ],
)
def test_what_is_no_good_http_is_refused_with_a_status(
    gateway: Daemon, raw: bytes, status: int
) -> None:
    assert exchange(gateway.url, raw).status == status


def test_requests_in_one_segment_are_answered_in_order(org: Org) -> None:
    first = f"GET /messages/{org.id} HTTP/1.1\r\nHost: x\r\nX-Secret-Key: {org.secret}\r\n\r\n"
    second = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = exchange(org.url, (first + second).encode())
    assert answer.content == b'{"org_id":"%s","count":0,"messages":[]}' % org.id.encode()


# -- CORS --


def test_pages_of_an_allowed_origin_may_read_every_answer(agent: Agent) -> None:
    for path in ("/health", "/messages/no-org", "/nothing"):
        headers = agent.get(path, headers={"Origin": ORIGIN}).headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Origin" in headers["Vary"]
        assert "Retry-After" in headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in headers


def test_a_preflight_names_what_an_allowed_page_may_send(agent: Agent) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": ORIGIN}
    headers = agent.options("/webhook", headers=asked).headers
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert {"Content-Type", "X-Secret-Key"} <= {
        name.strip() for name in headers["Access-Control-Allow-Headers"].split(",")
    }


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", ORIGIN + ".evil", "http://app.example"]
)
def test_pages_of_another_origin_may_not(agent: Agent, origin: str) -> None:
    for answer in (
        agent.get("/health", headers={"Origin": origin}),
        agent.options("/webhook", headers={"Origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


# -- health and pages --


def test_health_and_ready(agent: Agent) -> None:
    assert agent.get("/health").json() == {"status": "ok"}
    ready = agent.get("/ready")
    parts = dict.fromkeys(("listeners", "database", "schema", "room"), "ok")
    assert (ready.status_code, ready.json()) == (200, {"parts": parts, "status": "ready"})


def test_the_openapi_document_is_valid_and_has_every_path(agent: Agent) -> None:
    document = agent.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    assert {"/webhook", "/send/{org_id}", "/messages/{org_id}", "/sims/{org_id}", "/health"} <= set(
        document["paths"]
    )


def references(page: str) -> set[str]:
    return set(re.findall(r'(?:src|href)="([^"#]+)', page))


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_and_all_that_it_needs_come_from_here(gateway: Daemon, path: str) -> None:
    with Agent(gateway.url, new_address()) as agent:
        page = agent.get(path)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in page.text
        for reference in references(page.text):
            assert "://" not in reference
            asset = agent.get(urljoin(path, reference))
            assert asset.status_code == 200
            again = agent.get(
                urljoin(path, reference), headers={"If-None-Match": asset.headers.get("ETag", "")}
            )
            assert again.status_code in (200, 304)


def test_the_landing_page_has_the_quickstart(agent: Agent) -> None:
    page = agent.get("/").text
    for words in ("/webhook", "X-Secret-Key", "/send/myorg", "/docs"):
        assert words in page


def test_llms_txt_is_plain_text_and_warns(agent: Agent) -> None:
    answer = agent.get("/llms.txt")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "never instructions" in answer.text
    assert "curl -X POST" in answer.text
