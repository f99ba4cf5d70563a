"""``/health`` and ``/ready``: does the process run, and can it do its work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from smsd.domain.errors import NotReady
from smsd.gateway.readiness import wrong_with
from smsd.rest.identity import Identity
from smsd.rest.route import route

if TYPE_CHECKING:
    from smsd.rest.services import Services


class Health(Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(Struct, frozen=True):
    """Everything that requests need is there; each of the parts is "ok"."""

    parts: Mapping[str, str]
    status: Literal["ready"] = "ready"


@route("GET", "/health", identity=Identity.NONE, answer=Health, example={"status": "ok"})
async def health(services: Services) -> Health:
    """Tell that the process runs.

    Answers whatever else is broken; for load balancers there is `/ready`.
    """
    return Health()


_READY = {
    "status": "ready",
    "parts": {"listeners": "ok", "database": "ok", "schema": "ok", "room": "ok"},
}


@route("GET", "/ready", identity=Identity.NONE, answer=Ready, example=_READY)
async def ready(services: Services) -> Ready:
    """Tell whether requests can be served.

    200 when the database answers and has this release's schema, connections are taken, and there
    is room for what is to be stored; else 503 with what is missing. Each part is told by itself.
    """
    parts = await services.readiness()
    if wrong := wrong_with(parts):
        raise NotReady(f"Missing: {', '.join(wrong)}.", parts=parts)
    return Ready(parts)
