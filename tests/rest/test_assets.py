from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from smsd.rest.api import Api
from smsd.rest.pages import Page, pages
from smsd.rest.site import Site

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from tests.rest.conftest import Browser, Notes

BODY = b"<p>" + b"hello " * 100
PAGE = Page("/", "text/html", BODY, gzip.compress(BODY), {"ETag": 'W/"1"', "Cache-Control": "x"})
PLAIN = Page("/plain.txt", "text/plain", b"hi", None, {"ETag": 'W/"2"', "Vary": "Accept-Encoding"})


@pytest.fixture
def site(notes: Notes, clock: Clock) -> Site:
    return Site(Api(notes.services(), pages=[PAGE, PLAIN], origins=["*"]), clock)


def test_a_page_is_served_with_its_own_headers(browser: Browser) -> None:
    answer = browser.ask("GET", "/")
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["cache-control"] == "x"
    assert answer.headers["content-type"] == "text/html"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*;q=1, gzip; q=0.0", False),
        ("identity", False),
        ("xgzip", False),
    ],
)
def test_a_page_is_packed_for_those_who_take_that(
    browser: Browser, accepted: str, packed: bool
) -> None:
    answer = browser.ask("GET", "/", Accept_Encoding=accepted)
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(answer.body) if packed else answer.body) == BODY


def test_what_does_not_shrink_is_not_packed(browser: Browser) -> None:
    answer = browser.ask("GET", "/plain.txt", Accept_Encoding="gzip")
    assert answer.body == b"hi"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("held", "status"),
    [('W/"1"', 304), ('"1"', 304), ('"x", W/"1"', 304), ("*", 304), ('"2"', 200)],
)
def test_a_page_is_not_sent_to_those_who_have_it(browser: Browser, held: str, status: int) -> None:
    answer = browser.ask("GET", "/", If_None_Match=held)
    assert answer.status == status
    assert answer.headers["etag"] == 'W/"1"'
    assert (answer.body == b"") is (status == 304)


def test_what_an_answer_varies_by_is_all_told(browser: Browser) -> None:
    wire = browser.wire()
    wire.ask("GET", "/plain.txt")
    assert b"Vary: Origin\r\nVary: Accept-Encoding\r\n" in wire.socket.value()


def test_the_gateways_own_pages_are_served(notes: Notes, clock: Clock, browser: Browser) -> None:
    browser.site = Site(Api(notes.services(), pages=pages()), clock)
    for page in pages():
        assert browser.ask("GET", page.path).body == page.body
