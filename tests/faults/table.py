"""The campaign's result as a table: what was counted, and what of it had to be 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: Every count that is shown, in this order; True: it must be 0 for the campaign to pass.
COUNTS: dict[str, bool] = {
    "texts attempted": False,
    "texts acknowledged": False,
    "calls acknowledged": False,
    "calls unknown": False,
    "calls refused": True,
    "wrong answers": True,
    "lost": True,
    "stored twice": True,
    "sent twice under one key": True,
    "tickets": False,
    "tickets sent": False,
    "tickets delivered": False,
    "tickets failed": False,
    "tickets cancelled": False,
    "tickets expired": False,
    "tickets opted out": False,
    "delivery reports": False,
    "questions answered": False,
    "stuck": True,
    "never answered": True,
    "pushes": False,
    "pushed again, same id": False,
    "pushed under two ids": True,
    "pushed before commit": True,
    "pushes witnessed": False,
    "sent twice by a ledger phone": True,
    "sent twice by a plain phone": True,
    "sent by two phones": True,
    "told as sent, and never was": True,
    "reported to have arrived, and is not delivered": True,
    "told as delivered, and nobody said so": True,
    "told as cancelled, and is not": True,
    "cancelled, and sent": True,
    "given to a phone after a STOP": True,
    "given to a phone outside of its time": True,
    "expired, sent": False,
    "a ledger phone's word lost": True,
    "given up, sent": False,
    "given up, not sent": False,
    "given up, not sent by a ledger phone": False,
    "events": False,
    "events missing": True,
    "events out of order": True,
    "events heard": False,
    "events missed by a reader": True,
    "events heard out of order": True,
    "posts taken": False,
    "posts refused": False,
    "events missed by a hook": True,
    "events out of order at a hook": True,
    "tracebacks": True,
}
PLAIN_TWICE, TWO_PHONES = "sent twice by a plain phone", "sent by two phones"
#: With ``unconfirmed = resend`` a text may go out more than once, except from a ledger phone.
UNDER_RESEND = (PLAIN_TWICE, TWO_PHONES)
#: A plain phone that is back and is not heard within the grace, for its road is slow or swallows
#: what it says, is given again what it gave no receipt for.
OVER_SPOILT_ROADS = (PLAIN_TWICE,)
#: Where the gateway itself is never killed it knows what it gave to whom: nothing that no phone
#: ever sent may end as unconfirmed.
WHERE_NOBODY_DIES = ("given up, not sent", "given up, not sent by a ledger phone")
#: From ``kill -9`` to the first request that is accepted. Seconds.
RESTART_WITHIN = 2.0


@dataclass
class Line:
    """One round of the campaign."""

    name: str
    counts: Counter[str]
    #: What the contract allows in this round, though it must be 0 in others.
    allowed: tuple[str, ...] = ()
    #: What must be 0 in this round, though it need not be in others.
    forbidden: tuple[str, ...] = ()
    strikes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    restarts: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    #: MiB at the start and at the end, where one process lived through the round.
    memory: tuple[float, float] | None = None
    slowest: float = 0.0
    seconds: float = 0.0

    @property
    def breaches(self) -> list[str]:
        """What had to be 0 and is not."""
        return [
            name
            for name, zero in COUNTS.items()
            if self.counts[name] and (zero or name in self.forbidden) and name not in self.allowed
        ]


@dataclass
class Result:
    """The whole campaign."""

    lines: list[Line] = field(default_factory=list)
    #: Fail-points and how often the gateway died at each.
    deaths: Counter[str] = field(default_factory=Counter)
    wanted: dict[str, int] = field(default_factory=dict)
    #: What else was wrong, in words.
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> Counter[str]:
        return sum((line.counts for line in self.lines), Counter())

    @property
    def restarts(self) -> list[float]:
        return sorted(each for line in self.lines for each in line.restarts)

    @property
    def faults(self) -> list[str]:
        """Why the campaign has not passed."""
        found = [
            f"{line.name}: {name} {line.counts[name]}"
            for line in self.lines
            for name in line.breaches
        ]
        missed = [
            f"{n} reached {self.deaths[n]} of {w} times"
            for n, w in self.wanted.items()
            if self.deaths[n] < w
        ]
        return found + missed + self.notes

    @property
    def strikes(self) -> Counter[str]:
        return sum((line.strikes for line in self.lines), Counter())


def told(line: Line) -> str:
    """A round in a few lines, while the campaign runs."""
    shown = [f"{name} {line.counts[name]}" for name in COUNTS if line.counts[name]]
    strikes = ", ".join(f"{number} x {name}" for name, number in sorted(line.strikes.items()))
    examples = [
        f"    {name}: {each}" for name in line.breaches for each in line.examples.get(name, ())
    ]
    longest = f"; longest restart {max(line.restarts):.2f} s" if line.restarts else ""
    head = f"{line.name}: {line.seconds:.0f} s; {strikes}{longest}"
    return "\n".join([head, "  " + ", ".join(shown), *examples])


def markdown(result: Result, machine: Iterable[tuple[str, str]]) -> str:
    """The whole, as a page."""
    verdict = "Passed." if not result.faults else "Not passed: " + "; ".join(result.faults) + "."
    parts = [
        "# What the fault campaign found",
        verdict,
        _table(("", ""), machine),
        "## Counts",
        _table(("count", "found", "goal"), _counted(result)),
        "## Times and memory",
        _table(("", "found", "goal"), _times(result)),
        "## Nemeses",
        _table(("nemesis", "times"), ((n, str(c)) for n, c in sorted(result.strikes.items()))),
        "## Fail-points",
        _table(
            ("the gateway died", "times"), ((n, str(c)) for n, c in sorted(result.deaths.items()))
        ),
        "## Rounds",
        _table(("round", "seconds", "texts", "acknowledged", "pushed again"), _rounds(result)),
    ]
    return "\n\n".join(parts) + "\n"


def _counted(result: Result) -> Iterable[tuple[str, str, str]]:
    total, allowed = result.total, Counter[str]()
    for line in result.lines:
        allowed.update({name: line.counts[name] for name in line.allowed})
    for name, zero in COUNTS.items():
        yield name, str(total[name] - allowed[name]), "0" if zero else ""
    for name in UNDER_RESEND:
        yield f"{name}, where the contract allows it", str(allowed[name]), ""


def _times(result: Result) -> Iterable[tuple[str, str, str]]:
    if times := result.restarts:
        yield "restarts measured", str(len(times)), ""
        yield "from a kill to the first accepted request, median", f"{_at(times, 0.5):.2f} s", ""
        yield "the same, 95 of 100", f"{_at(times, 0.95):.2f} s", ""
        yield "the same, longest", f"{times[-1]:.2f} s", f"{RESTART_WITHIN:.0f} s"
    if stops := [each for line in result.lines for each in line.stops]:
        yield "orderly stop under load, longest", f"{max(stops):.2f} s", "10 s"
    yield (
        "longest wait for an answer",
        f"{max((line.slowest for line in result.lines), default=0):.2f} s",
        "",
    )
    for line in result.lines:
        if line.memory is not None:
            before, after = line.memory
            yield f"resident memory, {line.name}", f"{before:.0f} to {after:.0f} MiB", "flat"


def _rounds(result: Result) -> Iterable[tuple[str, ...]]:
    names = ("texts attempted", "texts acknowledged", "pushed again, same id")
    for line in result.lines:
        yield (line.name, f"{line.seconds:.0f}", *(str(line.counts[name]) for name in names))


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
