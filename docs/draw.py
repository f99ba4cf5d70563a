"""Draws ``ticket-life.svg`` from the table in ``smsd.domain.lifecycle``: ``python docs/draw.py``.

The table says which arrows there are and what their words are; only where they run is said here,
and an arrow without a place cannot be drawn. A test holds the picture to the table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

from smsd.domain.lifecycle import BIRTHS, STATES, STEPS

PICTURE = Path(__file__).with_name("ticket-life.svg")
#: Where a ticket comes from, for the sake of the arrows to the states of its birth.
NOWHERE = ""
LINE = 18


class Road(NamedTuple):
    """An arrow's path, and its words: where they start, how they are set, how many in a line."""

    path: str
    x: int
    y: int
    anchor: str
    width: int


STATES_AT = {
    "queued": (280, 260),
    "sending": (590, 260),
    "sent": (900, 130),
    "failed": (900, 400),
    "cancelled": (150, 430),
    "expired": (590, 570),
    "delivered": (1290, 260),
}
BIRTHS_AT = {"queued": (40, 260), "sending": (590, 138), "failed": (900, 520)}
ROADS = {
    (NOWHERE, "queued"): Road("M40 260H190", 113, 216, "middle", 16),
    (NOWHERE, "sending"): Road("M590 138V223", 604, 150, "start", 15),
    (NOWHERE, "failed"): Road("M900 520V437", 914, 496, "start", 16),
    ("queued", "sending"): Road("M367 246H500", 435, 194, "middle", 17),
    ("sending", "queued"): Road("M503 276H370", 435, 298, "middle", 17),
    ("sending", "sent"): Road("M677 248 812 156", 768, 212, "start", 22),
    ("sending", "failed"): Road("M677 272 812 374", 778, 288, "start", 22),
    ("queued", "sent"): Road("M280 226C300 70 560 60 810 117", 480, 116, "middle", 30),
    ("queued", "failed"): Road("M280 294C300 450 560 460 810 413", 440, 462, "middle", 32),
    ("queued", "cancelled"): Road("M235 294 178 393", 186, 330, "end", 18),
    ("sending", "cancelled"): Road("M530 294C430 420 330 436 238 436", 165, 492, "middle", 24),
    ("queued", "expired"): Road("M262 294C262 480 380 560 500 570", 290, 560, "end", 12),
    ("sending", "expired"): Road("M590 294V533", 604, 470, "start", 22),
    ("failed", "sent"): Road("M962 366V167", 974, 300, "start", 14),
    ("sent", "delivered"): Road("M988 140 1225 222", 1040, 118, "start", 12),
    ("queued", "delivered"): Road("M270 226C290 -40 1100 -20 1285 223", 1010, 24, "middle", 60),
    ("sending", "delivered"): Road("M677 262H1200", 1092, 284, "start", 16),
    ("failed", "delivered"): Road("M988 390 1225 298", 1110, 366, "start", 22),
    ("cancelled", "delivered"): Road(
        "M80 463C20 640 240 672 700 672S1330 560 1330 297", 700, 660, "middle", 40
    ),
    ("expired", "delivered"): Road("M677 590C1000 640 1290 560 1290 297", 880, 644, "start", 30),
    ("cancelled", "sent"): Road(
        "M62 430C10 430 12 300 14 200S60 24 300 22S820 14 886 94", 110, 92, "start", 22
    ),
    ("expired", "sent"): Road("M677 575C1130 600 1160 250 988 140", 700, 530, "start", 34),
}

STYLE = """
    .sheet { fill: #fbfaf6; stroke: #d9d8cf; }
    .state rect { fill: #fff; stroke: #0b6b53; stroke-width: 2; }
    .state .inner { fill: none; stroke-width: 1; }
    .road { fill: none; stroke: #0b6b53; stroke-width: 2.2; stroke-linecap: round; }
    .tip, .birth { fill: #0b6b53; }
    text { font: 14px system-ui, "DejaVu Sans", sans-serif; fill: #53615b; }
    .state text { font: 600 19px system-ui, "DejaVu Sans", sans-serif; fill: #14201c; }
  """


def arrows() -> Iterator[tuple[str, str, str]]:
    """All of the table: what is left, what is entered, when."""
    yield from ((NOWHERE, enters, when) for enters, when in BIRTHS.items())
    yield from STEPS


def drawing() -> str:
    """The whole picture."""
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1400 690" role="img" '
            'aria-labelledby="life-title life-what">',
            '  <title id="life-title">A ticket\'s life</title>',
            f'  <desc id="life-what">{escape(in_words())}</desc>',
            f"  <style>{STYLE}</style>",
            '  <defs><marker id="tip" class="tip" viewBox="0 0 10 10" refX="8" refY="5" '
            'markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0 10 5 0 10Z"/></marker>'
            "</defs>",
            '  <rect class="sheet" x="1" y="1" width="1398" height="688" rx="18"/>',
            *map(_birth, BIRTHS),
            *(_road(*arrow) for arrow in arrows()),
            *map(_state, STATES),
            "</svg>\n",
        ]
    )


def in_words() -> str:
    """The same for those who cannot see it."""
    return "; ".join(f"{a or 'nothing'} to {b}: {when}" for a, b, when in arrows()) + "."


def _birth(state: str) -> str:
    x, y = BIRTHS_AT[state]
    return f'  <circle class="birth" cx="{x}" cy="{y}" r="7"/>'


def _state(state: str) -> str:
    x, y = STATES_AT[state]
    final = state not in BIRTHS
    inner = f'<rect class="inner" x="{x - 81}" y="{y - 28}" width="162" height="56" rx="12"/>'
    return (
        f'  <g class="state"><rect x="{x - 85}" y="{y - 32}" width="170" height="64" rx="16"/>'
        f'{inner if final else ""}<text text-anchor="middle" x="{x}" y="{y + 6}">{state}</text></g>'
    )


def _road(leaves: str, enters: str, when: str) -> str:
    road = ROADS[leaves, enters]
    lines = "".join(
        f'<tspan x="{road.x}" y="{road.y + LINE * row}">{escape(words)}</tspan>'
        for row, words in enumerate(textwrap.wrap(when, road.width))
    )
    return (
        f'  <path class="road" marker-end="url(#tip)" d="{road.path}"/>'
        f'<text text-anchor="{road.anchor}">{lines}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(drawing(), "utf-8")
