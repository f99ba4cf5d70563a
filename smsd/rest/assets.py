"""Serving a page: compressed where the client likes that, and not at all where it has it."""

from __future__ import annotations

from smsd.rest.pages import Page
from smsd.rest.reply import Reply
from smsd.rest.request import Request


def served(page: Page, request: Request) -> Reply:
    """The page as this client wants it."""
    if _has(request, page.headers.get("ETag", "")):
        return Reply(status=304, content_type=None, headers=page.headers)
    if page.gzipped is not None and _takes_gzip(request):
        headers = {**page.headers, "Content-Encoding": "gzip"}
        return Reply(page.gzipped, content_type=page.content_type, headers=headers)
    return Reply(page.body, content_type=page.content_type, headers=page.headers)


def _has(request: Request, tag: str) -> bool:
    """Whether the client says that it holds this version (RFC 9110 section 13.1.2)."""
    held = ",".join(request.said(b"if-none-match")).split(",")
    opaque = [each.strip().removeprefix("W/") for each in held]
    return "*" in opaque or (tag != "" and tag.removeprefix("W/") in opaque)


def _takes_gzip(request: Request) -> bool:
    codings = ",".join(request.said(b"accept-encoding")).replace(" ", "").lower().split(",")
    weights = dict(coding.partition(";q=")[::2] for coding in codings)
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.rstrip("0.") != "" or weight == ""
