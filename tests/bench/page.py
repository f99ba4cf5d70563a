"""The page of a run: tables of medians, ratios, and on what they were found. Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bench.figures import Figures
from bench.sides import OURS, PEER

#: What each table shows, under the name of its scenario.
_TITLES = {
    "webhook": "`POST /webhook`, one SMS a request, committed before the answer",
    "limit": "The same rows stored by pgbench, with nothing before Postgres",
    "send": "`POST /send` to a phone that answers at once, until `sent` is committed",
    "latency": "`POST /send` at a steady rate, until the phone holds the frame",
    "poll": "`GET /messages`, 100 messages a page",
    "idle": "Phones that only are there",
    "waiting": "Readers who wait for a message, each of them for another",
    "return": "All phones back after the gateway was killed",
    "crowd": "`POST /send` while others are on line",
    "orgs": "`POST /webhook` spread over many orgs",
    "workers": "`POST /webhook` to one gateway, and to two of one machine on one database",
    "polls of a grown org": "`GET /messages` of an org that has half of all messages",
    "sends of a grown org": "`POST /send` of that org",
    "disk": "Bytes on disk, and what a message a second for a year needs",
    "updates": "Updates during these loads, and how many were HOT",
}
#: Figures whose ratio between the two sides is told.
_COMPARED = ("a second", "daemon us", "push p50 ms", "push p99 ms", "KiB a phone")


def markdown(
    results: Mapping[str, Figures], found_on: Iterable[tuple[str, str]], rounds: int, plot: str
) -> str:
    """All of it; ``plot`` is the picture's file beside the page, or empty."""
    lines = ["# What `make bench` measured", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in found_on]
    lines += ["", f"Medians of {rounds}. Microseconds (us) are CPU time of one message or request."]
    lines += ["", f"![Throughput and latency]({plot})"] if plot else []
    for name, figures in results.items():
        lines += ["", f"## {_TITLES[name]}", "", *_table(figures), *_ratios(figures)]
    return "\n".join([*lines, ""])


def _table(figures: Figures) -> Iterator[str]:
    rows = list(figures.medians())
    columns = list(dict.fromkeys(name for _, _, row in rows for name in row))
    yield f"| | {figures.point} | {' | '.join(columns)} |"
    yield "|---|" + "---:|" * (len(columns) + 1)
    for who, at, row in rows:
        shown = [_shown(row[name]) if name in row else "" for name in columns]
        yield f"| {who} | {f'{at:,}' if at else ''} | {' | '.join(shown)} |"


def _ratios(figures: Figures) -> Iterator[str]:
    """Ours over the peer's, at every point where there are both."""
    found = {(who, at): row for who, at, row in figures.medians()}
    for (who, at), ours in found.items():
        peer = found.get((PEER.name, at))
        if who != OURS.name or peer is None:
            continue
        told = [f"{name} x {ours[name] / peer[name]:.2f}" for name in _COMPARED if peer.get(name)]
        where = f" at {at:,} {figures.point}" if at else ""
        yield f"\n{OURS.name} / {PEER.name}{where}: {', '.join(told)}"


def _shown(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
