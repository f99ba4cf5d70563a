"""A service manager as the gateway sees one: it hears notices, and holds a socket for it."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from daemon import PATIENCE

#: A gateway that is started through this can do without flags, and be given a socket.
LAUNCH = (sys.executable, str(Path(__file__).with_name("launch.py")))


class Manager:
    """Hears what it is told at ``address``; an abstract one begins with @."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(address.replace("@", "\0", 1))

    def __enter__(self) -> Manager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._line.close()

    def environ(self, watchdog: float | None = None) -> dict[str, str]:
        """What a gateway must be told so that it tells us; ``watchdog`` is in seconds."""
        micros = {"WATCHDOG_USEC": f"{watchdog * 1e6:.0f}"} if watchdog else {}
        return {"NOTIFY_SOCKET": self.address, **micros}

    def hear(self, within: float = PATIENCE) -> list[str]:
        """The facts of the next notice."""
        self._line.settimeout(within)
        return self._line.recv(4096).decode().split("\n")

    def hear_until(self, wanted: Callable[[str], bool]) -> list[str]:
        """All facts up to the wanted one and those that came with it."""
        heard: list[str] = []
        while not any(wanted(fact) for fact in heard):
            heard += self.hear()
        return heard

    def hear_fact(self, fact: str) -> list[str]:
        return self.hear_until(lambda heard: heard == fact)

    def forget(self) -> None:
        """Hear all that was said already."""
        self._line.setblocking(False)
        try:
            while True:
                self._line.recv(4096)
        except BlockingIOError:
            return

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing is said for so long."""
        try:
            self.hear(seconds)
        except TimeoutError:
            return True
        return False


class Holder:
    """Listens on a port, and gives the socket to every gateway that asks for it."""

    def __init__(self, where: Path) -> None:
        self._held = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = self._held.getsockname()[1]
        self._where = str(where)
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(self._where)
        self._door.listen()
        self._thread = threading.Thread(target=self._give)
        self._thread.start()

    def __enter__(self) -> Holder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._door.close()
        self._held.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environ(self, *dropped: str) -> dict[str, str]:
        return {"HELD_AT": self._where, "DROPPED": " ".join(dropped)}

    def _give(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            with line:
                socket.send_fds(line, [b"."], [self._held.fileno()])
