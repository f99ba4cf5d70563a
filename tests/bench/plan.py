"""What is measured, in which turn: in every round each side has its go at every point.

So what a noisy machine does to one of them it does to the other, and the medians can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import growth, returning, scenarios, waiting, workers
from bench.figures import Figures, Row
from bench.limit import limit
from bench.phones import phones
from bench.postgres import Postgres
from bench.scenarios import CLIENTS, ORGS_OF_PHONES, Asked
from bench.sides import OURS, PEER, ROAD, Running, Side, running

BOTH = (OURS, PEER)
CROWDS = (1, 16, CLIENTS, 512)
ORGS = (1, 10, 100, 1000)
#: As many rows in one statement of pgbench's as one of the gateway's carries under load.
BATCH = 64


@dataclass
class Bench:
    """What is asked for, where, and what came of it so far."""

    asked: Asked
    rounds: int
    rows: list[int]
    postgres: Postgres
    home: Path
    say: Callable[[str], None]
    results: dict[str, Figures] = field(default_factory=dict)

    def figures(self, name: str, point: str = "") -> Figures:
        return self.results.setdefault(name, Figures(point))

    def note(self, name: str, who: str, at: int, row: Row) -> None:
        """One go's figures, which whoever watches sees at once."""
        self.results[name].add(who, at, row)
        told = ", ".join(f"{value:.4g} {figure}" for figure, value in row.items())
        self.say(f"{name} {who}{f' at {at}' if at else ''}: {told}")

    @contextmanager
    def running(self, side: Side, orgs: int = 1) -> Iterator[Running]:
        with running(side, self.postgres, self.home, orgs) as one:
            yield one

    def in_turns(
        self,
        name: str,
        measure: Callable[[Running, Asked], Row],
        orgs: int = 1,
        sides: Sequence[Side] = BOTH,
    ) -> None:
        """One side after the other, every round."""
        self.figures(name)
        for _ in range(self.rounds):
            for side in sides:
                with self.running(side, orgs) as one:
                    self.note(name, side.name, 0, measure(one, self.asked))


def webhook(bench: Bench) -> None:
    """Both at every number of clients, and pgbench at what the gateway's schema can take."""
    bench.figures("webhook", "clients")
    for _ in range(bench.rounds):
        for clients in CROWDS:
            for side in BOTH:
                with bench.running(side) as one:
                    found = scenarios.webhook(one, bench.asked, clients)
                    bench.note("webhook", side.name, clients, found)
        _limit(bench)


def _limit(bench: Bench) -> None:
    bench.figures("limit", "rows a statement")
    with bench.running(OURS) as one:
        for rows in (1, BATCH):
            bench.note("limit", "pgbench", rows, limit(one, bench.asked.seconds, CLIENTS, rows))


def send(bench: Bench) -> None:
    bench.in_turns("send", scenarios.send)


def latency(bench: Bench) -> None:
    """Beside what only commits and pushes: the floor."""
    bench.in_turns("latency", scenarios.latency, sides=(*BOTH, ROAD))


def poll(bench: Bench) -> None:
    bench.in_turns("poll", scenarios.poll)


def idle(bench: Bench) -> None:
    bench.in_turns("idle", scenarios.idle, ORGS_OF_PHONES)


def waits(bench: Bench) -> None:
    bench.in_turns("waiting", waiting.waiting, ORGS_OF_PHONES, sides=(OURS,))


def back(bench: Bench) -> None:
    """After a kill, against the bare handshakes of as many phones."""
    bench.figures("return", "phones")
    count = bench.asked.phones
    for _ in range(bench.rounds):
        with bench.running(OURS, ORGS_OF_PHONES) as one:
            bench.note("return", OURS.name, count, returning.back(one, count))
        bench.note("return", "handshakes alone", count, returning.bare(count))


def crowd(bench: Bench) -> None:
    """Sends to one phone while others are on line."""
    bench.figures("crowd", "phones")
    for _ in range(bench.rounds):
        for count in sorted({1, 100, bench.asked.phones}):
            with bench.running(OURS, ORGS_OF_PHONES) as one:
                bench.note("crowd", OURS.name, count, _in_a_crowd(one, bench.asked, count))


def _in_a_crowd(one: Running, asked: Asked, count: int) -> Row:
    with phones(one.port, count, min(count, ORGS_OF_PHONES)) as flock:
        flock.come()
        return scenarios.sends(one, asked)


def orgs(bench: Bench) -> None:
    """The same load spread over more and more orgs."""
    bench.figures("orgs", "orgs")
    for _ in range(bench.rounds):
        for count in ORGS:
            with bench.running(OURS, count) as one:
                found = scenarios.webhook(one, bench.asked, orgs=count)
                bench.note("orgs", OURS.name, count, found)


def nodes(bench: Bench) -> None:
    """The same load on one gateway, and on two that share the database."""
    bench.figures("workers", "workers")
    for _ in range(bench.rounds):
        for count in (1, 2):
            with bench.running(OURS) as one:
                found = workers.webhook(one, bench.asked, count)
                bench.note("workers", OURS.name, count, found)


def grown(bench: Bench) -> None:
    """Polls and sends at every size. It is filled once, for that takes minutes; the rounds are
    taken on what is there."""
    for name in ("polls of a grown org", "sends of a grown org", "disk"):
        bench.figures(name, "rows")
    bench.figures("updates", "rows")
    for rows in bench.rows:
        with bench.running(OURS, growth.ORGS) as one:
            bench.say(f"making {rows:,} messages")
            growth.grow(one, rows)
            bench.note("disk", OURS.name, rows, growth.on_disk(one))
            for _ in range(bench.rounds):
                found = growth.polled(one, bench.asked, rows)
                bench.note("polls of a grown org", OURS.name, rows, found)
                found = growth.sent(one, bench.asked)
                bench.note("sends of a grown org", OURS.name, rows, found)
            one.stop()
            for table, row in growth.updates(one):
                bench.note("updates", table, rows, row)


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "webhook": webhook,
    "send": send,
    "latency": latency,
    "poll": poll,
    "idle": idle,
    "waiting": waits,
    "return": back,
    "crowd": crowd,
    "orgs": orgs,
    "workers": nodes,
    "growth": grown,
}
