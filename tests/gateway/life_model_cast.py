"""The phones of the model, and which of them take part in one example."""

from __future__ import annotations

from life_model_phones import Handset
from life_model_truth import Truth

from smsd.domain.records import Sim
from smsd.gateway.visit import Identity

HERE, THERE = "here", "there"


def handsets(truth: Truth) -> list[Handset]:
    """Plain phones and ledger phones, with and without a name, and one that says nothing."""
    one, two = Sim(slot=0, number="+15550001"), Sim(slot=0, number="+1 555 0002")
    more, four, five = (Sim(slot=1, number=f"+1555000{n}") for n in (3, 4, 5))
    return [
        Handset("plain", HERE, Identity("alpha"), (one,), truth),
        Handset("ledger", HERE, Identity("beta", keeps_ledger=True), (two, more), truth),
        Handset("nameless", HERE, Identity(), (four,), truth),
        Handset("silent", HERE, Identity(), (), truth),
        Handset("namesake", THERE, Identity("alpha", keeps_ledger=True), (one,), truth),
        Handset("nameless ledger", THERE, Identity(keeps_ledger=True), (five,), truth),
    ]


#: Which of them: a few, so that much happens to each.
CASTS = [[0], [1], [1], [0, 1], [0, 1], [0, 2], [2, 3], [1, 2], [4, 1], [5], [4, 5], [0, 1, 2, 3]]
