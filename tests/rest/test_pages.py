"""The pages that the gateway serves of itself: types, headers, links, looks. What llms.txt and the
docs say is in test_contract_pages."""

import gzip
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from smsd.rest.pages import CONTENT_SECURITY_POLICY, Page, pages

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
START = (ROOT / "docs" / "quickstart.md").read_text()
PAGES = {page.path: page for page in pages()}
HTML = [page for page in PAGES.values() if page.content_type.startswith("text/html")]
VENDORED = {
    "/static/swagger-ui-bundle.js": (
        "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2"
    ),
    "/static/swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
SWAGGERS_OWN = [path for path in PAGES if path.startswith("/static/swagger-ui")]
OURS = [page for path, page in PAGES.items() if path not in SWAGGERS_OWN]
API = {"/docs", "/openapi.json", "/llms.txt", "/"}

QUICKSTART = [
    "curl -X POST http://127.0.0.1:8080/webhook -H 'Content-Type: application/json' -d "
    '\'{"org_id":"myorg","secret_key":"my-secret-key-123","messages":'
    '[{"address":"+15551112222","body":"hi","date":1700000000000}]}\'',
    "curl -H 'X-Secret-Key: my-secret-key-123' http://127.0.0.1:8080/messages/myorg",
    "curl -X POST http://127.0.0.1:8080/send/myorg -H 'Content-Type: application/json' -d "
    '\'{"secret_key":"my-secret-key-123","to":"+15553334444","body":"sent from API"}\'',
    "SMSD_SECRET=my-secret-key-123 .venv/bin/smsd phone --org myorg",
]


def text(path: str) -> str:
    return PAGES[path].body.decode()


class Tags(HTMLParser):
    """Every tag of a document with its attributes, and the text within script and style."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()


# ---- the pages ----


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/llms.txt", "text/plain; charset=utf-8"),
        ("/static/landing.css", "text/css; charset=utf-8"),
        ("/static/landing.js", "text/javascript; charset=utf-8"),
        ("/static/docs.css", "text/css; charset=utf-8"),
        ("/static/docs.js", "text/javascript; charset=utf-8"),
        ("/static/swagger-ui.css", "text/css; charset=utf-8"),
        ("/static/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
    ],
)
def test_a_page_has_its_type_and_a_body(path: str, kind: str) -> None:
    assert PAGES[path].content_type == kind
    assert PAGES[path].body


def test_every_file_of_the_package_is_served_and_no_path_twice() -> None:
    shipped = {entry.name for entry in files("smsd.rest").joinpath("static").iterdir()}
    served = {path.rsplit("/", 1)[1] for path in PAGES}
    named = {"landing.html": "", "docs.html": "docs"}
    assert {named.get(name, name.removesuffix(".gz")) for name in shipped} <= served
    assert len(PAGES) == len(pages())


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.path)
def test_html_allows_only_what_comes_from_here(page: Page) -> None:
    policy = page.headers["Content-Security-Policy"]
    assert policy == CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.path)
def test_html_has_nothing_inline_that_its_policy_would_block(page: Page) -> None:
    tags = Tags(page.body.decode())
    attributes = set(chain.from_iterable(attrs for _, attrs in tags.found))
    assert tags.inline == ""
    assert not {name for name in attributes if name == "style" or name.startswith("on")}


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.path)
def test_every_link_of_a_page_leads_to_something_that_is_served(page: Page) -> None:
    tags = Tags(page.body.decode()).found
    ids = {attrs.get("id") for _, attrs in tags}
    for _, attrs in tags:
        link = attrs.get("href") or attrs.get("src")
        if link and link.startswith("#"):
            assert link[1:] in ids
        elif link:
            assert link.split("?")[0] in PAGES.keys() | API


def test_an_assets_link_changes_with_its_content() -> None:
    for path in ("/static/landing.css", "/static/landing.js"):
        wanted = hashlib.sha256(PAGES[path].body).hexdigest()[:16]
        assert f'"{path}?v={wanted}"' in text("/")


def test_equal_bodies_have_equal_tags_and_others_not() -> None:
    tags = {page.headers["ETag"] for page in PAGES.values()}
    assert PAGES["/favicon.ico"].headers["ETag"] == PAGES["/favicon.svg"].headers["ETag"]
    assert len(tags) == len(PAGES) - 1
    assert all(re.fullmatch(r'W/"[0-9a-f]{16}"', tag) for tag in tags)


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.path)
def test_the_compressed_form_is_the_same_body_and_smaller(page: Page) -> None:
    if page.gzipped is None:
        assert len(page.body) < 100
    else:
        assert gzip.decompress(page.gzipped) == page.body
        assert len(page.gzipped) < len(page.body)
    assert page.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(("path", "digest"), VENDORED.items())
def test_swagger_ui_is_the_released_one(path: str, digest: str) -> None:
    assert hashlib.sha256(PAGES[path].body).hexdigest() == digest


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.path)
def test_no_page_refers_to_another_host(page: Page) -> None:
    document = page.body.decode().replace('xmlns="http://www.w3.org/2000/svg"', "")
    hosts = set(re.findall(r"[a-z]+://([^/\s\"'`<)]+)", document))
    assert hosts <= {"127.0.0.1:8080"}
    assert not re.search(r"""(?:src|href|url\()=?["']?//""", document)


def test_swagger_ui_is_told_to_ask_nobody_else() -> None:
    assert "validatorUrl: null" in text("/static/docs.js")
    assert 'url: "/openapi.json"' in text("/static/docs.js")
    assert set(re.findall(r"url\([\"']?([a-z]*:?)", text("/static/swagger-ui.css"))) <= {"data:"}


# ---- the landing page ----


def test_the_landing_page_has_landmarks_headings_and_a_described_picture() -> None:
    tags = Tags(text("/")).found
    names = [tag for tag, _ in tags]
    assert names.count("h1") == names.count("main") == names.count("header") == 1
    assert "footer" in names
    assert ("html", {"lang": "en"}) in tags
    assert all("alt" in attrs for tag, attrs in tags if tag == "img")
    pictures = [attrs for tag, attrs in tags if tag == "svg"]
    assert all("aria-label" in attrs or "aria-labelledby" in attrs for attrs in pictures)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("ink", "page"),
        ("soft", "page"),
        ("green", "page"),
        ("green", "tint"),
        ("on-green", "green"),
        ("red", "page"),
        ("soft", "sheet"),
        ("on-code", "code"),
    ],
)
def test_words_stand_out_from_their_ground(ink: str, paper: str, theme: int) -> None:
    css = text("/static/landing.css")
    colours = [re.findall(rf"--{name}: (#[0-9a-f]{{6}});", css)[theme] for name in (ink, paper)]
    dark, light = sorted(luminance(colour) for colour in colours)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("line", QUICKSTART)
def test_the_quickstart_is_the_same_everywhere(line: str) -> None:
    landing = unescape(re.sub(r"<[^>]+>", "", text("/")))
    assert line in landing
    assert line in text("/llms.txt")
    assert line in README
    assert line in START
