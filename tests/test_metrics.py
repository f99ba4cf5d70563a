"""The code, the page, the dashboard and the alerts speak of the same metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from smsd.sight.catalogue import METRICS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "metrics.md").read_text()
ALERTS = (DOCS / "metrics" / "alerts.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((DOCS / "metrics" / "dashboard.json").read_text())
OURS = {metric.name for metric in METRICS}
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def named(text: str) -> set[str]:
    """The metrics in a text, whichever of a histogram's series it asks for."""
    found = re.findall(r"\b((?:smsd|process|python)_[a-z0-9_]+)", text)
    return {re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name) for name in found}


def of_the_process() -> set[str]:
    """The metrics that prometheus_client has of every process."""
    registry = CollectorRegistry()
    for collector in (GCCollector, PlatformCollector, ProcessCollector):
        collector(registry=registry)
    return {sample.name for family in registry.collect() for sample in family.samples}


def test_the_page_says_of_every_metric_what_the_code_says() -> None:
    rows = re.findall(r"^\| `(smsd_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (metric.name, metric.kind, ", ".join(metric.labels), metric.help) for metric in METRICS
    ]


def test_the_page_names_no_metric_that_there_is_not() -> None:
    assert named(PAGE) - {"python_gc_"} <= OURS | of_the_process()


def test_every_metric_of_ours_is_on_the_dashboard_and_each_that_is_there_exists() -> None:
    asked = named("\n".join(QUERIES))
    assert OURS - asked == set()
    assert asked <= OURS | of_the_process()


def test_alerts_ask_for_metrics_that_there_are() -> None:
    expressions = "\n".join(line for line in ALERTS.splitlines() if "smsd on" not in line)
    assert named(expressions) <= OURS | of_the_process()


def test_the_page_says_of_every_alert_what_to_do() -> None:
    alerts = re.findall(r"^      - alert: (\w+)$", ALERTS, re.MULTILINE)
    assert re.findall(r"^\| `(Smsd\w+)` \|", PAGE, re.MULTILINE) == alerts


def test_panels_have_a_title_a_unit_and_a_place_of_their_own() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    taken = [
        (place["x"] + right, place["y"] + down)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for right in range(place["w"])
        for down in range(place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
