"""What was measured: figures of a scenario, by who was measured and at which point, over rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

Row = Mapping[str, float]


@dataclass
class Figures:
    """Of one scenario. ``point`` is what varies (clients, phones, rows), or empty."""

    point: str = ""
    taken: dict[tuple[str, int], list[Row]] = field(default_factory=dict)
    #: What cannot be put into the table, in sentences.
    notes: list[str] = field(default_factory=list)

    def add(self, who: str, at: int, row: Row) -> None:
        self.taken.setdefault((who, at), []).append(row)

    def medians(self) -> Iterator[tuple[str, int, dict[str, float]]]:
        """Of each figure over the rounds, by itself."""
        for (who, at), rows in self.taken.items():
            yield who, at, {name: median(row[name] for row in rows) for name in rows[0]}

    def of(self, who: str, name: str) -> list[tuple[int, float]]:
        """A curve: this figure at every point where it was taken."""
        return [(at, row[name]) for one, at, row in self.medians() if one == who and name in row]

    def whose(self) -> list[str]:
        return list(dict.fromkeys(who for who, _ in self.taken))
