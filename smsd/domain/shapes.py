"""What a listening endpoint, a network, a web origin and a path look like.

Plausible is enough here: the endpoint string is parsed for good when the listener is made.
"""

from __future__ import annotations

import ipaddress
import re

BACKLOG = 4096

_STREAMS = ("tcp", "tcp6", "ssl")


def is_endpoint(text: str) -> bool:
    """Whether this may be a Twisted server endpoint."""
    kind, *fields = _fields(text)
    if not re.fullmatch(r"[a-z][a-z0-9_+-]*", kind) or not fields or fields[0][:2] in ("", "//"):
        return False
    return kind not in _STREAMS or _is_port(_port(fields))


def with_backlog(endpoint: str) -> str:
    """The endpoint with room for a crowd that comes back at once, unless it says otherwise.

    Twisted's own 50 turns a restart under thousands of phones into an outage.
    """
    kind, *fields = _fields(endpoint)
    said = any(f.startswith("backlog=") for f in fields)
    if kind not in _STREAMS or said:
        return endpoint
    return f"{endpoint}:backlog={BACKLOG}"


def is_network(text: str) -> bool:
    """Whether this is an address or a network in CIDR notation."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_origin(text: str) -> bool:
    """Whether a browser sends just this as ``Origin``: scheme, host, port, in small letters."""
    return re.fullmatch(r"\*|[a-z][a-z0-9+.\-]*://[^\s/?#@A-Z]+", text) is not None


def is_path(text: str) -> bool:
    """Whether this is a path as it stands: only a shell knows what ``~`` is."""
    return bool(text) and "\0" not in text and not text.startswith("~")


def _fields(endpoint: str) -> list[str]:
    return re.split(r"(?<!\\):", endpoint)


def _port(fields: list[str]) -> str:
    return next((f.removeprefix("port=") for f in fields if f.startswith("port=")), fields[0])


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and int(text) < 65536
