"""``GET /metrics``: the registry in Prometheus' text format, and nothing else."""

# mypy: allow-untyped-calls
# (twisted.web is only partly annotated.)

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from smsd.domain.errors import MethodNotAllowed, NotFound
from smsd.rest.problems import translated
from smsd.rest.reply import Reply
from smsd.rest.request import Request
from smsd.store.census import Census

PATH = b"/metrics"


class MetricsPage(Resource):
    """The root of the metrics' own site."""

    isLeaf = True

    def __init__(self, registry: CollectorRegistry, census: Census) -> None:
        super().__init__()
        self._registry = registry
        self._census = census

    def render(self, request: Request) -> int:
        Deferred.fromCoroutine(self._answer(request))
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        try:
            reply = await self._asked(request)
        except Exception as error:
            reply = translated(error)
        request.deliver(reply)

    async def _asked(self, request: Request) -> Reply:
        if request.path != PATH:
            raise NotFound(f"There is nothing here but {PATH.decode()}.")
        if request.method not in (b"GET", b"HEAD"):
            raise MethodNotAllowed(headers={"Allow": "GET, HEAD"})
        await self._census.refresh()
        return Reply(generate_latest(self._registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)
