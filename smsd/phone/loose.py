"""What phones say for what the frames mean: an integer in another dress, a SIM that is in no slot.

An SMS is never refused for its values (contract section 2), and neither is a report of SIMs or a
result: only a wrong JSON type is.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from smsd.domain.numbers import SLOTS
from smsd.domain.records import Label, PaceSaid, Sim, SimNumber, integer

#: So many SIMs one phone holds at most.
FEW = Meta(max_length=16, description="must hold at most 16 SIMs")


class SaidSim(Struct, frozen=True, kw_only=True):
    """A SIM in a phone's own words: Android says slot -1 of one that is in none."""

    slot: Annotated[int | float | str | None, Meta(description="must be a slot from 0 to 15")]
    number: SimNumber | None = None
    label: Label | None = None
    carrier: Label | None = None
    pace: PaceSaid | UnsetType | None = UNSET

    def in_slot(self, slot: int) -> Sim:
        return Sim(
            slot=slot,
            number=self.number,
            label=self.label,
            carrier=self.carrier,
            pace=self.pace,
        )


class SaidSims(Struct, frozen=True):
    """A report of SIMs in a phone's own words."""

    sims: Annotated[list[SaidSim], FEW]

    def in_slots(self) -> list[Sim]:
        """Those that are in a slot: no other can send."""
        slots = [(integer(sim.slot, SLOTS), sim) for sim in self.sims]
        return [sim.in_slot(slot) for slot, sim in slots if slot is not None]


def whole(given: object) -> object:
    """An integer in digits as an integer, anything else as it came."""
    number = integer(given) if isinstance(given, str) else None
    return given if number is None else number
