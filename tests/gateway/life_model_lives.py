"""What the model keeps of each ticket: the row, and what phones were given and did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from life_model_phones import Wire
from life_model_witness import Row

from smsd.domain.records import Ticket


@dataclass(eq=False)
class Push:
    """One frame that was given to a wire, at ``at`` on the model's clock, in its step ``step``."""

    ticket: Ticket
    wire: Wire
    mark: int
    at: float
    received: bool = False
    answered: bool = False


@dataclass(eq=False)
class Life:
    """A ticket, as the table shows it and as the phones know it."""

    row: Row
    pushes: list[Push] = field(default_factory=list)
    #: In which step it was last handed over, and when it was first since it last waited.
    handed_in: int = 0
    handed_at: float = 0.0
    #: It went back to the queue, and so may come after newer ones.
    displaced: bool = False
    #: A crash left it open whether it was written; a plain phone that had it may have sent it.
    unknown: bool = False
    never_again: bool = False
    sms: Counter[str] = field(default_factory=Counter)
