"""The OpenAPI document is valid, complete, and says what the routes do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from smsd.domain.errors import Invalid, NotJson
from smsd.domain.reading import Reader
from smsd.rest.api import ROUTES, Api
from smsd.rest.openapi import document
from smsd.rest.pages import pages
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Browser, Notes

#: Section 2 and 4 of the contract, path by path.
CONTRACT = [
    ("/health", "get"),
    ("/ready", "get"),
    ("/webhook", "post"),
    ("/messages/{org_id}", "get"),
    ("/messages/{org_id}/{secret_key}", "get"),
    ("/messages/{org_id}", "delete"),
    ("/send/{org_id}", "post"),
    ("/sims/{org_id}", "get"),
    ("/sims/{org_id}/{secret_key}", "get"),
    ("/websocket", "get"),
    ("/openapi.json", "get"),
    ("/", "get"),
    ("/docs", "get"),
    ("/llms.txt", "get"),
]


@pytest.fixture
def site(notes: Notes, clock: Clock) -> Site:
    return Site(Api(notes.services(), pages=pages()), clock)


@pytest.fixture
def served(browser: Browser) -> Any:
    return browser.ask("GET", "/openapi.json").json()


def test_the_document_is_valid_openapi(served: Any) -> None:
    assert served["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(served).iter_errors()) == []


@pytest.mark.parametrize(("path", "method"), CONTRACT)
def test_every_path_of_the_contract_is_there(served: Any, path: str, method: str) -> None:
    assert served["paths"][path][method]["summary"]


def test_every_route_is_described_for_people(served: Any) -> None:
    for path in served["paths"].values():
        for operation in path.values():
            assert operation["summary"][0].isupper()
            assert operation["responses"]


def test_every_operation_is_shown_under_who_calls_it(served: Any) -> None:
    shown = {
        (path, method): operation["tags"]
        for path, operations in served["paths"].items()
        for method, operation in operations.items()
    }
    assert {tag for tags in shown.values() for tag in tags} == {
        tag["name"] for tag in served["tags"]
    }
    assert shown["/webhook", "post"] == shown["/websocket", "get"] == ["Phones"]
    assert shown["/send/{org_id}", "post"] == shown["/orgs/{org_id}/secret", "post"] == ["Programs"]
    assert shown["/ready", "get"] == shown["/llms.txt", "get"] == ["The gateway"]


def test_every_operation_has_a_name_of_its_own(served: Any) -> None:
    names = [
        operation["operationId"]
        for path in served["paths"].values()
        for operation in path.values()
        if "operationId" in operation
    ]
    assert len(set(names)) == len(names)


def test_who_may_call_is_told(served: Any) -> None:
    paths = served["paths"]
    assert paths["/messages/{org_id}"]["get"]["security"] == [
        {"SecretKey": []},
        {"ApiKey": ["read"]},
    ]
    assert paths["/keys/{org_id}"]["get"]["security"] == [{"SecretKey": []}]
    assert "security" not in paths["/health"]["get"]
    assert {} in paths["/send/{org_id}"]["post"]["security"]
    assert "401" in paths["/sims/{org_id}/{secret_key}"]["get"]["responses"]
    assert "401" not in paths["/health"]["get"]["responses"]


def test_whoever_chooses_a_wrong_word_is_told_the_right_ones(served: Any) -> None:
    """The fault of a field is the description of its shape; without one msgspec's words are shown,
    which name only what is wrong."""
    taken = json.dumps(
        [op.get("requestBody") for p in served["paths"].values() for op in p.values()]
    )
    schemas = served["components"]["schemas"]
    chosen = {
        (name, field): shape
        for name, schema in schemas.items()
        if f'/{name}"' in taken
        for field, shape in schema["properties"].items()
        if "enum" in shape
    }
    assert ("HowAsked", "scope") in chosen
    assert [place for place, shape in chosen.items() if "description" not in shape] == []


def test_a_stream_is_told_as_one(served: Any) -> None:
    for path in ("/events/{org_id}", "/events/{org_id}/{secret_key}"):
        told = served["paths"][path]["get"]
        assert set(told["responses"]["200"]["content"]) == {"text/event-stream"}
        assert "410" in told["responses"]
        assert {"Last-Event-ID", "since", "types"} <= {one["name"] for one in told["parameters"]}
    assert "410" not in served["paths"]["/messages/{org_id}"]["get"]["responses"]


def test_the_parameters_of_a_query_are_told_without_null(served: Any) -> None:
    parameters = {
        each["name"]: each
        for each in served["paths"]["/messages/{org_id}"]["get"]["parameters"]
        if each["in"] == "query"
    }
    assert set(parameters) == {
        "limit",
        "since_id",
        "before_id",
        "order",
        "direction",
        "sim",
        "address",
        "status",
        "wait",
    }
    assert parameters["limit"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 100,
    }
    assert parameters["direction"]["schema"] == {"enum": ["in", "out"]}
    assert parameters["wait"]["schema"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 60,
        "default": 0,
    }
    assert "null" not in json.dumps(parameters)


def test_the_examples_are_what_the_gateway_takes_and_gives(browser: Browser) -> None:
    for route in ROUTES:
        if route.body:
            raw = json.dumps({"secret_key": "my-secret-key-123", **route.body.example}).encode()
            path = route.paths[0].replace("<org_id>", "myorg").replace("<id>", "7c1e0b94a2f8")
            assert browser.ask(route.method, path, body=raw).status == 200
        if route.example is not None:
            msgspec.convert(route.example, route.answer)


SENT: list[Any] = [
    {},
    {"to": "+155"},
    {"to": "+155", "body": "x"},
    {"to": "+155", "body": None},
    {"to": None, "body": None, "messages": [{"to": "+155", "body": "x"}]},
    {"messages": [{"to": "+155", "body": "x", "sim": 3}], "sim": "+1555"},
    {"messages": []},
    {"messages": None},
    {"to": "+155", "body": "x", "messages": []},
    {"to": "+155", "body": ""},
    {"to": "1", "body": "x"},
    {"to": "+155", "body": "x" * 1601},
    {"to": "+155", "body": "x", "sim": -1},
    {"to": "+155", "body": "x", "sim": True},
    {"to": "+155", "body": "x", "secret_key": None},
]
STORED: list[Any] = [
    {"org_id": "myorg", **body}
    for body in (
        {},
        {"messages": []},
        {"messages": [{"address": "1", "body": "x"}]},
        {"messages": [{"address": None, "body": None, "date": "x", "id": 5}]},
        {"messages": [{"address": "1"}]},
        {"messages": [{"address": "1", "body": "x", "date": []}]},
        {"messages": [{"address": "1" * 257, "body": "x"}]},
        {"messages": {}},
    )
]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/send/{org_id}", body) for body in SENT] + [("/webhook", body) for body in STORED],
)
def test_the_document_and_the_gateway_judge_a_body_alike(path: str, body: Any) -> None:
    described = document(ROUTES)
    schema = described["paths"][path]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    valid = OAS31Validator({**schema, "components": described["components"]}).is_valid(body)
    (route,) = (each for each in ROUTES if path.partition("{")[0].rstrip("/") in each.paths[0])
    assert route.body is not None
    assert valid is _taken(route.body.kind, body)


def _taken(kind: Any, value: Any) -> bool:
    try:
        Reader(kind).read(msgspec.json.encode(value))
    except (Invalid, NotJson):
        return False
    return True


def test_pages_are_listed_and_what_they_are_made_of_is_not() -> None:
    paths = document(ROUTES, pages())["paths"]

    assert {"/", "/docs", "/llms.txt"} <= set(paths)
    assert [path for path in paths if path.startswith(("/static", "/favicon"))] == []
