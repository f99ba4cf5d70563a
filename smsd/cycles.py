"""How seldom Python looks for cycles of garbage.

It goes by how many objects were made and not yet let go, and takes 700 for many. Phones are just
that: when thousands come on line it looked through all of them again and again, which took 25 % of
the CPU of their coming. The gateway's own connections leave no cycles behind, whether they end or
become phones, so there is next to nothing to find.
"""

from __future__ import annotations

from typing import Any

#: New objects that are looked through at a time: a few milliseconds. So many of those rounds, and
#: all that they left is looked through again; the last is Python's own.
THRESHOLDS = (10_000, 50, 10)


def look_seldom(collector: Any) -> None:
    """Of the `gc` module; what is there by now stays, and is not looked through any more."""
    collector.freeze()
    collector.set_threshold(*THRESHOLDS)
