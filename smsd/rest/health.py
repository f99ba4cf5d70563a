"""``/health`` and ``/ready``: does the process run, and can it do its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from smsd.domain.errors import Unavailable
from smsd.rest.identity import Identity
from smsd.rest.route import route

if TYPE_CHECKING:
    from smsd.rest.services import Services


class Health(Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True):
    """Everything that requests need is there."""

    status: Literal["ready"] = "ready"


class NotReady(Unavailable):
    """The gateway is not ready."""

    slug, title = "not_ready", "Not ready"


@route("GET", "/health", identity=Identity.NONE, answer=Health, example={"status": "ok"})
async def health(services: Services) -> Health:
    """Tell that the process runs.

    Answers whatever else is broken; for load balancers there is `/ready`.
    """
    return Health()


@route("GET", "/ready", identity=Identity.NONE, answer=Readiness, example={"status": "ready"})
async def ready(services: Services) -> Readiness:
    """Tell whether requests can be served.

    200 when the database answers and the listeners are up, else 503 with what is missing.
    """
    if missing := await services.missing():
        raise NotReady(f"Missing: {', '.join(missing)}.")
    return Readiness()
