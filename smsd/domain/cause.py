"""Which request is the cause of what happens now, so that every log line can say so.

Whatever a request starts takes its id along by itself (`contextvars`); what is done for many at
once is nobody's and begins `apart`. Where ids come from is `smsd.rest.request_ids`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_request: ContextVar[bytes] = ContextVar("request", default=b"")


def request_id() -> bytes:
    """The id of the request that is the cause; empty where none is."""
    return _request.get()


def caused_by(request: bytes, call: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> T:
    """Call, and let that and all that it starts be this request's doing."""
    before = _request.set(request)
    try:
        return call(*args, **named)
    finally:
        _request.reset(before)


def apart(call: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> T:
    """Call, and let that and all that it starts be no request's doing."""
    return Context().run(call, *args, **named)
