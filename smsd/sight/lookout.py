"""What must run so that the page of metrics is true, from its start to its stop."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from smsd.domain.tallies import Spread
from smsd.sight.catalogue import METRICS
from smsd.sight.lag import Lag
from smsd.sight.metric import Reading
from smsd.sight.page import MetricsPage
from smsd.sight.sources import Sources
from smsd.store.census import Census


class Lookout:
    """Looks at one node. ``sources`` completes what is looked at with what is looked with;
    ``held_back`` as in `Census`."""

    def __init__(
        self,
        reactor: Any,
        conninfo: str,
        sources: Callable[[Census, Spread], Sources],
        held_back: Callable[[], Collection[tuple[str, str]]],
    ) -> None:
        self._census = Census(reactor, conninfo, held_back)
        self._lag = Lag(reactor)
        self.registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=self.registry)
        self.registry.register(Reading(METRICS, sources(self._census, self._lag.spread)))
        self.page = MetricsPage(self.registry, self._census)

    def start(self) -> None:
        self._lag.start()

    def stop(self) -> None:
        self._lag.stop()
        self._census.close()
