"""From an exception to ``application/problem+json`` (RFC 9457): the only place that does it.

A `Problem` is told in full. Anything else is a bug of ours: the client reads an incident id and
nothing more, and the log has the same id with the way there, but not one word of the request.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct
from twisted.logger import Logger
from werkzeug import exceptions as routing

from smsd.domain.errors import (
    EventsGone,
    Fault,
    MethodNotAllowed,
    MissingScope,
    NotFound,
    Problem,
    Unauthorised,
    WrongKey,
)
from smsd.domain.way import way
from smsd.rest.reply import Reply

PROBLEM_JSON = "application/problem+json"

#: Seconds to wait where a problem that passes by itself does not say how long.
_PATIENCE = 5
_PASSING = (429, 503)

_log = Logger()


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457). ``errors`` lists every fault of a body or a query, ``parts``
    what `/ready` knows, ``oldest`` is the oldest cursor that misses nothing."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[Fault] | None = None
    incident: str | None = None
    parts: Mapping[str, str] | None = None
    oldest: int | None = None


def urn(slug: str) -> str:
    """The stable name of a kind of problem, for programs."""
    return f"urn:smsd:problem:{slug}"


def translated(error: BaseException) -> Reply:
    """The answer to a request that ended in ``error``."""
    match error:
        case Problem():
            return told(error)
        case routing.MethodNotAllowed():
            return told(MethodNotAllowed(headers={"Allow": allowed(error)}))
        case routing.HTTPException():
            return told(NotFound())
        case _:
            return incident(error)


def told(problem: Problem) -> Reply:
    """The problem in full."""
    details = ProblemDetails(
        urn(problem.slug),
        problem.title,
        problem.status,
        problem.detail,
        problem.errors,
        parts=problem.parts,
        oldest=problem.oldest if isinstance(problem, EventsGone) else None,
    )
    return _reply(details, dict(_headers(problem)))


def incident(error: BaseException) -> Reply:
    """An opaque 500; the log has the id, where it happened and the kind of the exception.

    Not its text (see `smsd.domain.way`).
    """
    name = secrets.token_hex(8)
    _log.critical("Incident {incident}: {way}", incident=name, way=way(error))
    return _reply(ProblemDetails(urn("internal"), "Internal error", 500, incident=name), {})


def allowed(error: routing.MethodNotAllowed) -> str:
    """The methods of a path, as ``Allow`` lists them."""
    return ", ".join(sorted({*(error.valid_methods or ()), "OPTIONS"}))


def _reply(details: ProblemDetails, headers: dict[str, str]) -> Reply:
    return Reply(msgspec.json.encode(details), details.status, PROBLEM_JSON, headers)


def _challenge(problem: Problem) -> str | None:
    """What would open instead; to whoever showed a key as RFC 6750 (section 3) has it."""
    match problem:
        case WrongKey():
            return 'Bearer realm="smsd", error="invalid_token"'
        case MissingScope():
            wanted = f', scope="{" ".join(problem.scopes)}"' if problem.scopes else ""
            return f'Bearer realm="smsd", error="insufficient_scope"{wanted}'
    return 'X-Secret-Key realm="smsd"' if problem.status == Unauthorised.status else None


def _headers(problem: Problem) -> Iterator[tuple[str, str]]:
    if challenge := _challenge(problem):
        yield "WWW-Authenticate", challenge
    wait = problem.retry_after
    if wait is None and problem.status in _PASSING:
        wait = _PATIENCE
    if wait is not None:
        yield "Retry-After", str(wait)
    yield from problem.headers.items()
