"""One metric: its name and meaning, and how its values are read off a node.

Everything is read when Prometheus asks, so what is not asked for costs nothing but its counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from smsd.domain.tallies import Spread
from smsd.sight.sources import Sources

#: The values of a metric by the values of its labels.
Values = Mapping[tuple[str, ...], Any]

_FAMILIES = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


@dataclass(frozen=True)
class Metric:
    """``read`` gives a number, or a `Spread` for a histogram, for each set of ``labels``; what
    is not known now it leaves out."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    read: Callable[[Sources], Values]
    labels: tuple[str, ...] = ()

    def family(self, sources: Sources) -> Family:
        """The metric with its values of this moment."""
        family: Any = _FAMILIES[self.kind](self.name, self.help, labels=self.labels)
        for labels, value in self.read(sources).items():
            if isinstance(value, Spread):
                family.add_metric(labels, buckets(value), sum_value=value.total)
            else:
                family.add_metric(labels, value)
        return family  # type: ignore[no-any-return]


counter = partial(Metric, "counter")
gauge = partial(Metric, "gauge")
histogram = partial(Metric, "histogram")


def buckets(spread: Spread) -> list[tuple[str, int]]:
    """The spread as Prometheus has it: how many were at most so large."""
    bounds = [str(bound) for bound in spread.bounds] + ["+Inf"]
    return list(zip(bounds, spread.at_most, strict=True))


class Reading(Collector):
    """All metrics of a node, as a collector of its registry."""

    def __init__(self, metrics: Iterable[Metric], sources: Sources) -> None:
        self._metrics = tuple(metrics)
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        return (metric.family(self._sources) for metric in self._metrics)
