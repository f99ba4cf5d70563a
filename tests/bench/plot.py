"""The picture of a run: throughput above, latency below, against clients, phones and rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from bench.figures import Figures

mpl.use("svg")
# The same run gives the same file, and text that can be searched.
mpl.rcParams.update({"svg.hashsalt": "smsd", "svg.fonttype": "none"})

from matplotlib import pyplot  # noqa: E402 - it looks at the backend when it is imported

#: Of each column, which scenarios' curves are in it.
_COLUMNS = {
    "clients": ("webhook",),
    "phones": ("crowd",),
    "rows": ("polls of a grown org", "sends of a grown org"),
}


def draw(results: Mapping[str, Figures], to: Path) -> bool:
    """Whether there was anything to draw."""
    columns = [name for name in _COLUMNS if any(one in results for one in _COLUMNS[name])]
    if not columns:
        return False
    size = (4 * len(columns), 6)
    figure, axes = pyplot.subplots(2, len(columns), squeeze=False, figsize=size)
    for at, point in enumerate(columns):
        _column(axes[0][at], axes[1][at], point, results)
    figure.tight_layout()
    figure.savefig(to, metadata={"Date": None})
    return True


def _column(above: Any, below: Any, point: str, results: Mapping[str, Figures]) -> None:
    for name in _COLUMNS[point]:
        for who in results[name].whose() if name in results else ():
            label = f"{name}, {who}"
            _curve(above, results[name].of(who, "a second"), f"{label}: a second", "-")
            _curve(below, results[name].of(who, "p99 ms"), f"{label}: p99", "-")
            _curve(below, results[name].of(who, "p50 ms"), f"{label}: p50", ":")
    above.set_ylabel("a second")
    below.set_ylabel("milliseconds")
    below.set_xlabel(point)
    for axis in (above, below):
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize="x-small")


def _curve(axis: Any, points: list[tuple[int, float]], label: str, style: str) -> None:
    xs, ys = zip(*sorted(points), strict=True)
    axis.plot(xs, ys, style, marker="o", markersize=3, label=label)
