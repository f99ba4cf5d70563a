"""The orgs of the campaign: who they are, and which SIMs their agents may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

SECRET = "a secret for the campaign"


@dataclass
class Org:
    """One tenant. ``sims``: what an agent may ask for and some phone serves. Of one that listens,
    what happens is written down as events."""

    id: str
    listens: bool = False
    sims: list[str | int | None] = field(default_factory=lambda: [None])
