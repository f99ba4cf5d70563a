"""The metrics of a gateway, as somebody reads them who scrapes it."""

from __future__ import annotations

from daemon import Daemon
from prometheus_client.parser import text_string_to_metric_families
from visitors import Agent, until

#: What a gateway is started with so that it shows them.
SHOWN = ("--metrics", "tcp:0:interface=127.0.0.1")


class Metrics:
    """Where a gateway shows its metrics."""

    def __init__(self, gateway: Daemon) -> None:
        told = (event["msg"] for event in gateway.events())
        (line,) = [words for words in told if words.startswith("metrics are at ")]
        self.url = line.split()[-1].removesuffix("/metrics")
        self.page = ""

    def scrape(self) -> dict[str, float]:
        """Every sample by its name with its labels, as in ``smsd_tickets{status="queued"}``."""
        with Agent(self.url) as agent:
            answer = agent.get("/metrics")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.page = answer.text
        return {
            _spelt(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(self.page)
            for sample in family.samples
        }

    def wait_for(self, name: str, value: float) -> dict[str, float]:
        """All samples once this one has this value."""
        return until(lambda: seen if (seen := self.scrape()).get(name) == value else None)


def _spelt(name: str, labels: dict[str, str]) -> str:
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{told}}}" if told else name
