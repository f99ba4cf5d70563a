"""What the examples of a run share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from life_model_postgres import Server
from life_model_witness import Witness
from twisted.logger import LogEvent, LogLevel, globalLogPublisher


class Bench:
    """The database, an ear for failures, and how much was done."""

    def __init__(self, conninfo: str) -> None:
        self.server = Server(conninfo)
        self.witness = Witness(conninfo, self.server)
        self.steps = self.examples = 0
        self.failures: list[Any] = []
        self.tally: Counter[str] = Counter()

    def close(self) -> None:
        self.server.close()
        self.witness.server.close()

    def hear(self, event: LogEvent) -> None:
        if event.get("log_failure") is not None or event.get("log_level") == LogLevel.critical:
            self.failures.append(event)

    @contextmanager
    def listening(self) -> Iterator[Bench]:
        globalLogPublisher.addObserver(self.hear)
        try:
            yield self
        finally:
            globalLogPublisher.removeObserver(self.hear)
            self.close()
