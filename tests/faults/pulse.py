"""Whether a gateway's reactor runs: /health asked every 50 ms, and the longest wait for it."""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType

EVERY = 0.05


class Pulse:
    """Feels it from ``with`` on until its end; then ``longest`` is in seconds, and ``refusals`` are
    the answers that were not 200."""

    def __init__(self, port: int) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feel)
        self.longest = 0.0
        self.beats = 0
        self.refusals: list[int] = []
        self.failure: Exception | None = None

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._line.close()
        if kind is None and self.failure is not None:
            raise self.failure

    def _feel(self) -> None:
        try:
            while not self._over.wait(EVERY):
                self._beat()
        except (OSError, http.client.HTTPException) as failure:
            self.failure = failure

    def _beat(self) -> None:
        began = time.monotonic()
        self._line.request("GET", "/health")
        answer = self._line.getresponse()
        answer.read()
        self.longest = max(self.longest, time.monotonic() - began)
        self.beats += 1
        if answer.status != 200:
            self.refusals.append(answer.status)
