"""A real Prometheus scrapes a gateway that has something to do, and is asked every question that
the dashboard and the alerts ask: none is refused, and no panel stays empty.

Its configuration is the one on the page, so that is tried as well.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from daemon import PATIENCE, Daemon, new_home
from sighted import SHOWN, Metrics
from tools import tool
from visitors import Org, problem, until

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = DOCS / "metrics" / "alerts.yml"
DASHBOARD = DOCS / "metrics" / "dashboard.json"
#: What Grafana puts into queries.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".+"}
#: Rates need a past: so many scrapes, a second apart, after the last that was done.
PAST = 3


@dataclass(frozen=True)
class Prometheus:
    """One that scrapes a gateway every second."""

    url: str

    def api(self, path: str, **asked: str) -> Any:
        """What it answers with, all being well."""
        told = requests.post if asked else requests.get
        answer = told(f"{self.url}/api/v1/{path}", data=asked, timeout=PATIENCE).json()
        assert (answer["status"], answer.get("warnings")) == ("success", None), (asked, answer)
        return answer["data"]

    def ask(self, query: str) -> list[Any]:
        """The series that answer the query."""
        found: list[Any] = self.api("query", query=query)["result"]
        return found

    def rules(self) -> dict[str, Any]:
        """The alerts by their names, as it has judged them last."""
        groups = self.api("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def has_scraped(self, times: int) -> None:
        """Until it has done so, so many times more."""
        before = self._scrapes()
        until(lambda: self._scrapes() >= before + times)

    def _scrapes(self) -> float:
        found = self.ask('count_over_time(up{job="smsd"}[10m])')
        return float(found[0]["value"][1]) if found else 0.0


def configured(target: str) -> str:
    """The page's configuration, for this target, in a hurry."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "metrics.md").read_text(), re.DOTALL)
    assert text.count("127.0.0.1:9464") == text.count("alerts.yml") == 1
    text = text.replace("127.0.0.1:9464", target).replace("alerts.yml", str(ALERTS))
    return f"global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n\n{text}"


def free_port() -> int:
    """One on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def scraping(metrics: Metrics, home: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes these metrics, with its data in ``home``."""
    program, config = tool("prometheus"), home / "prometheus.yml"
    config.write_text(configured(metrics.url.removeprefix("http://")))
    listen = f"127.0.0.1:{free_port()}"
    arguments = (f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}")
    with (home / "prometheus.out").open("wb") as out:
        process = subprocess.Popen(
            [program, *arguments, f"--web.listen-address={listen}"], stdout=out, stderr=out
        )
    try:
        prometheus = Prometheus(f"http://{listen}")
        until(prometheus.is_ready)
        yield prometheus
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def a_little_of_everything(org: Org) -> None:
    """Traffic that leaves something in each metric that begins to exist with it."""
    org.claim()
    org.store(org.sms())
    org.read()
    problem(org.agent.get("/nowhere"), 404)
    org.ticket(sim="+15550009999")
    with org.phone({"slot": 0, "number": "+15550001111"}) as phone:
        ids = [org.ticket() for _ in range(3)]
        for _ in ids:
            phone.confirm(phone.hear()["id"])
        org.settled(ids[-1])


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    tool("prometheus")
    with new_home() as home:
        yield home


@pytest.fixture(scope="module")
def gateway(home: Path) -> Iterator[Daemon]:
    with Daemon(home, *SHOWN) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def prometheus(gateway: Daemon, home: Path) -> Iterator[Prometheus]:
    with scraping(Metrics(gateway), home) as prometheus:
        a_little_of_everything(Org(gateway.url))
        prometheus.has_scraped(PAST)
        yield prometheus


def panels() -> list[tuple[str, list[str]]]:
    """The panels by their titles, and what each asks."""
    return [
        (panel["title"], [target["expr"] for target in panel["targets"]])
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        if panel["type"] != "row"
    ]


def filled_in(query: str) -> str:
    """The query as Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


@pytest.mark.parametrize(("title", "queries"), panels(), ids=[title for title, _ in panels()])
def test_a_panel_shows_something(prometheus: Prometheus, title: str, queries: list[str]) -> None:
    empty = [query for query in queries if not prometheus.ask(filled_in(query))]
    assert empty == []


def test_the_dashboard_finds_its_nodes(prometheus: Prometheus) -> None:
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    (node,) = [variable for variable in variables if variable["name"] == "instance"]
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", node["query"]["query"])
    assert asked is not None
    assert [asked[2] in series["metric"] for series in prometheus.ask(asked[1])] == [True]


def test_every_alert_can_be_judged_and_none_is_raised_for_nothing(prometheus: Prometheus) -> None:
    names = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    assert sorted(names) == sorted(prometheus.rules())
    for name in names:
        until(lambda name=name: prometheus.rules()[name]["health"] != "unknown")
    judged = prometheus.rules()
    told = {name: (judged[name]["health"], judged[name].get("lastError")) for name in names}
    assert told == dict.fromkeys(names, ("ok", None))
    assert [name for name in names if judged[name]["state"] == "firing"] == []


def test_a_gateway_that_is_gone_is_noticed() -> None:
    with (
        new_home() as home,
        Daemon(home, *SHOWN) as daemon,
        scraping(Metrics(daemon), home) as prometheus,
    ):
        prometheus.has_scraped(1)
        daemon.stop()
        until(lambda: prometheus.rules()["SmsdDown"]["state"] == "pending")


def test_promtool_finds_nothing_to_say_about_the_rules_and_the_page() -> None:
    promtool = tool("promtool")
    checked = subprocess.run(
        [promtool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with new_home() as home, Daemon(home, *SHOWN) as daemon:
        org, metrics = Org(daemon.url), Metrics(daemon)
        a_little_of_everything(org)
        metrics.scrape()
    linted = subprocess.run(
        [promtool, "check", "metrics"],
        input=metrics.page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")
