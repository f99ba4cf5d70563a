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
    curves = [
        (f"{name}, {who}", results[name], who)
        for name in _COLUMNS[point]
        if name in results
        for who in results[name].whose()
    ]
    for at, (label, figures, who) in enumerate(curves):
        colour = f"C{at}"
        _curve(above, figures.of(who, "a second"), label, f"{colour}-")
        _curve(below, figures.of(who, "p99 ms"), f"{label}: p99", f"{colour}-")
        _curve(below, figures.of(who, "p50 ms"), f"{label}: p50", f"{colour}:")
    _dress(above, "a second", curves[0][1])
    _dress(below, "milliseconds", curves[0][1])
    below.set_xlabel(point)


def _curve(axis: Any, points: list[tuple[int, float]], label: str, style: str) -> None:
    xs, ys = zip(*sorted(points), strict=True)
    axis.plot(xs, ys, style, marker="o", markersize=3, label=label)


def _dress(axis: Any, unit: str, figures: Figures) -> None:
    points = sorted({at for _, at in figures.taken})
    axis.set_ylabel(unit)
    axis.set_xscale("log")
    axis.set_xticks(points, [f"{at:,}" for at in points])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.legend(fontsize="x-small")
