"""The pages that the gateway serves of itself: landing page, Swagger UI, llms.txt, their assets.

Each is a value, read once from the package's own files: bytes and headers, nothing that depends
on a request. Mounting them, and answering ``If-None-Match`` and ``Accept-Encoding``, is the
router's part. Nothing here refers to another host, so every page works without the internet.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

#: Only files of our own, no inline script or style, no frame round us.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HTML = "text/html; charset=utf-8"
CSS = "text/css; charset=utf-8"
SCRIPT = "text/javascript; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
SVG = "image/svg+xml"

_REVALIDATED = "no-cache"
_KEPT_A_DAY = "public, max-age=86400"


@dataclass(frozen=True)
class Page:
    """One thing to serve. ``gzipped`` is the same body for those who accept gzip; ``told`` says
    what somebody does who asks for it."""

    path: str
    content_type: str
    body: bytes
    gzipped: bytes | None
    headers: Mapping[str, str]
    told: str = ""


@dataclass(frozen=True)
class _Source:
    """Where a page comes from; a file that ends in ``.gz`` is unpacked for the plain body."""

    path: str
    file: str
    content_type: str
    told: str = ""


_ASSETS = (
    _Source("/static/landing.css", "landing.css", CSS),
    _Source("/static/landing.js", "landing.js", SCRIPT),
    _Source("/static/docs.css", "docs.css", CSS),
    _Source("/static/docs.js", "docs.js", SCRIPT),
    _Source("/static/swagger-ui.css", "swagger-ui.css.gz", CSS),
    _Source("/static/swagger-ui-bundle.js", "swagger-ui-bundle.js.gz", SCRIPT),
    _Source("/static/swagger-ui-bundle.js.LICENSE.txt", "swagger-ui-bundle.js.LICENSE.txt", TEXT),
    _Source("/static/swagger-ui.LICENSE.txt", "swagger-ui.LICENSE.txt", TEXT),
    _Source("/static/swagger-ui.NOTICE.txt", "swagger-ui.NOTICE.txt", TEXT),
    _Source("/favicon.svg", "favicon.svg", SVG),
    # Browsers ask for this one by themselves beside a document that names no icon.
    _Source("/favicon.ico", "favicon.svg", SVG),
)
_DOCUMENTS = (
    _Source("/", "landing.html", HTML, "See what this is, and try it in three lines"),
    _Source("/docs", "docs.html", HTML, "Try every call out in a browser"),
    _Source(
        "/llms.txt", "llms.txt", TEXT, "Read how to use it as plain text, made for language models"
    ),
)


@cache
def pages() -> Sequence[Page]:
    """Every page, documents first. Read on the first call, then the same objects."""
    assets = [_asset(source) for source in _ASSETS]
    return (*(_document(source, assets) for source in _DOCUMENTS), *assets)


def _asset(source: _Source) -> Page:
    raw = _read(source)
    if source.file.endswith(".gz"):
        return _page(source, gzip.decompress(raw), raw, _KEPT_A_DAY)
    return _page(source, raw, _compressed(raw), _KEPT_A_DAY)


def _document(source: _Source, assets: Sequence[Page]) -> Page:
    body = _stamped(_read(source), assets)
    return _page(source, body, _compressed(body), _REVALIDATED)


def _stamped(document: bytes, assets: Sequence[Page]) -> bytes:
    """The document with each asset's hash in its link: a new release is never styled by an old
    asset out of a cache."""
    for asset in assets:
        link = asset.path.encode()
        document = document.replace(b'"%b"' % link, b'"%b?v=%b"' % (link, _hash(asset.body)))
    return document


def _read(source: _Source) -> bytes:
    return files("smsd.rest").joinpath("static", source.file).read_bytes()


def _compressed(body: bytes) -> bytes | None:
    packed = gzip.compress(body, mtime=0)
    return packed if len(packed) < len(body) else None


def _page(source: _Source, body: bytes, gzipped: bytes | None, cache_control: str) -> Page:
    headers = MappingProxyType(_headers(body, cache_control))
    return Page(source.path, source.content_type, body, gzipped, headers, source.told)


def _headers(body: bytes, cache_control: str) -> dict[str, str]:
    return {
        "Cache-Control": cache_control,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        # Weak, because one tag stands for the plain and the compressed form.
        "ETag": f'W/"{_hash(body).decode()}"',
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }


def _hash(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()
