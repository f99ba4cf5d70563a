"""A gateway whose settings are in a file that changes, and what it says to each SIGHUP."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from daemon import Daemon
from visitors import until

AGAIN = "read the settings again: "
REFUSED = "the settings stay as they were: "


class Reloaded:
    """A gateway with a file of settings that is written anew before each SIGHUP."""

    def __init__(self, gateway: Daemon, file: Path) -> None:
        self.gateway, self._file = gateway, file
        gateway.excused.append(REFUSED)

    def with_file(self, text: str, lines: int = 1) -> list[str]:
        """What the gateway says to this file, in so many lines."""
        before = len(self._said())
        self._file.write_text(text)
        self.gateway.process.send_signal(signal.SIGHUP)
        until(lambda: len(self._said()) >= before + lines)
        return self._said()[before:]

    def _said(self) -> list[str]:
        whole, _, _ = self.gateway.log.read_text().rpartition("\n")
        events = [json.loads(line) for line in whole.splitlines()]
        return [event["msg"] for event in events if event["logger"] == "smsd.reload.Reload"]
