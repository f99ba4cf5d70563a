"""slowhttptest's four attacks by 2,000 connections each, and a client that hardly notices.

What is slow is measured and printed. What is asserted are counts: every connection of an attack is
gone long before the attacker would let go of it, and every call of the honest client is answered.
The attacker's own counts would not do: it does not see a cut while unread bytes lie before it.
"""

from __future__ import annotations

import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from daemon import Daemon, new_home
from tools import tool
from visitors import Agent, iter_pauses

CONNECTIONS, A_SECOND = 2000, 1000
#: Seconds for which an attacker would hold on.
HOLDS = 180
HEADERS = (["-H", "-i", "5", "-x", "24"], "/health")
BODIES = (["-B", "-i", "5", "-s", "8192", "-x", "10"], "/webhook")
RANGES = (["-R", "-a", "5", "-b", "3000"], "/health")
READING = (
    ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
    "/static/swagger-ui-bundle.js",
)
#: What is attacked at the same time. The attack by ranges is refused as soon as it comes (431).
ATTACKS = {
    "slow headers, slow bodies and ranges": [HEADERS, BODIES, RANGES],
    "slow reading": [READING],
}
#: So many connections must have been there at once, or the attack was none. (A machine that has
#: more to do sees the first of them cut before the last have come.)
ENOUGH = CONNECTIONS // 2


@dataclass
class Honest:
    """A client that goes on asking, and how long each answer took it (in milliseconds)."""

    url: str
    waits: list[float] = field(default_factory=list)
    refused: int = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        done = threading.Event()
        asker = threading.Thread(target=self._ask, args=(done,))
        asker.start()
        try:
            yield
        finally:
            done.set()
            asker.join()

    def _ask(self, done: threading.Event) -> None:
        pause = iter_pauses()
        with Agent(self.url) as agent:
            while not done.is_set():
                began = time.monotonic()
                self.refused += agent.get("/health").status_code != 200
                self.waits.append(1000 * (time.monotonic() - began))
                next(pause)

    @property
    def p99(self) -> float:
        return sorted(self.waits)[int(0.99 * len(self.waits))]


def connections(daemon: Daemon) -> int:
    """How many connections the gateway holds."""
    local, established = f":{daemon.port:04X}", "01"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(local) and line[3] == established for line in lines)


def memory(daemon: Daemon) -> int:
    """Of the gateway's process, in MiB."""
    pages = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


@pytest.fixture(scope="module")
def target() -> Iterator[Daemon]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * CONNECTIONS:
        pytest.skip(f"not run: at most {hard} files may be open (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 * CONNECTIONS, hard))
    try:
        with new_home() as home, Daemon(home) as daemon:
            # A machine that the attackers keep busy may let a query wait too long.
            daemon.excused.append("the database is away")
            yield daemon
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def calm(target: Daemon) -> float:
    """The honest client's 99th percentile while nobody attacks."""
    honest = Honest(target.url)
    with honest.asking():
        pause = iter_pauses()
        while len(honest.waits) < 100:
            next(pause)
    return honest.p99


@contextmanager
def attack(url: str, options: list[str], path: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [tool("slowhttptest"), *options, "-u", url + path, "-p", "5"]
    argv += ["-c", str(CONNECTIONS), "-r", str(A_SECOND), "-l", str(HOLDS)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as attacker:
        try:
            yield attacker
        finally:
            attacker.kill()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_by_slowness_is_cut_and_hurts_nobody(
    target: Daemon, calm: float, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    honest, most, weight = Honest(target.url), 0, 0
    all_in = time.monotonic()
    end = all_in + HOLDS
    with honest.asking(), ExitStack() as stack:
        for one in ATTACKS[name]:
            stack.enter_context(attack(target.url, *one))
        for _ in iter_pauses():
            now = connections(target) - 1  # the honest client's own
            if now > most:
                most, all_in = now, time.monotonic()
            weight = max(weight, memory(target))
            # Not when the attackers have ended: the gateway may have to hear of the last ones yet.
            if time.monotonic() > end or (now <= 0 and most >= ENOUGH):
                break
        with capsys.disabled():
            print(
                f"\n{name}: {most} connections at once, all cut {time.monotonic() - all_in:.1f} s "
                f"after the last came; an honest client's p99 {honest.p99:.0f} ms "
                f"(calm {calm:.0f} ms); the gateway had {weight} MiB"
            )
        assert connections(target) <= 1, "attackers still hold connections"
    assert most >= ENOUGH
    assert honest.refused == 0
    assert len(honest.waits) > 20
