"""How seldom Python looks for cycles of garbage.

It goes by how many objects were made and not yet let go, and takes 700 for many. Phones are just
that: when thousands come on line it looked through all of them again and again, which took 25 % of
the CPU of their coming, and now takes 10. A request leaves no cycle behind; a phone that has gone
is one, and may stay in memory for as long as it takes another six thousand to go.
"""

from __future__ import annotations

from typing import Any

#: So many new objects are looked through at a time, which takes some milliseconds; after so many
#: of those rounds what they left is looked through again, and after so many of these everything.
THRESHOLDS = (10_000, 5, 5)


def look_seldom(collector: Any) -> None:
    """Of the `gc` module; what is there by now stays, and is not looked through any more."""
    collector.freeze()
    collector.set_threshold(*THRESHOLDS)
