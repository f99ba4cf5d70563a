"""The orgs of the campaign: who they are, and which SIMs their agents may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

SECRET = "a secret for the campaign"
#: A number whose SMS, and those to it, hooks are told of; and how many of all are its.
SOMEBODY, ITS_SHARE = "+15550500600", 1 / 50

#: What the words of a question end with, and those of its answer behind that.
ASKED, ANSWERED = "q", "r"


@dataclass
class Org:
    """One tenant. ``sims``: what an agent may ask for and some phone serves. Of one that listens,
    what happens is written down as events."""

    id: str
    listens: bool = False
    sims: list[str | int | None] = field(default_factory=lambda: [None])


def party(words: str, usual: str = SOMEBODY) -> str:
    """The other side of the SMS with these words: the same however often it is handed in."""
    if ASKED in words:
        return f"+15558{int(words.removesuffix(ANSWERED)[1:-1]):07}"
    return SOMEBODY if Random(words).random() < ITS_SHARE else usual
