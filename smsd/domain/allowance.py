"""What an org may: how much it may store, queue and send, to whom, and how long tickets wait.

Values and rules only. Who sets them is `smsd.repair.limits`'; who counts, `smsd.gateway.quotas`'.
"""

from __future__ import annotations

import re

from msgspec import Struct

from smsd.domain.opt_outs import OptOuts
from smsd.domain.pacing import Pace

#: A number's beginning, as `smsd.domain.numbers.clean` leaves it.
PREFIX = r"^(\+|\+?[0-9]{1,20})$(?!\n)"


class Allowance(Struct, frozen=True, kw_only=True):
    """An org's limits; 0 and () are none.

    ``max_stored`` counts messages of both directions, ``max_queued`` tickets that wait,
    ``max_sends_per_minute`` tickets; ``queue_ttl`` is in seconds.
    """

    max_stored: int = 0
    max_queued: int = 0
    max_sends_per_minute: int = 0
    to_prefixes: tuple[str, ...] = ()
    queue_ttl: int = 0

    @property
    def limits_traffic(self) -> bool:
        """Whether some call may have to be refused."""
        return bool(
            self.max_stored or self.max_queued or self.max_sends_per_minute or self.to_prefixes
        )

    def allows(self, to: str) -> bool:
        """Whether this number, cleaned, may be sent to."""
        return not self.to_prefixes or to.startswith(self.to_prefixes)


class Own(Struct, frozen=True, kw_only=True):
    """What the operator has set for one org; None is what the settings say.

    The org itself sets how fast its SIMs may send: ``paces``, by the SIM as it is asked for
    (`smsd.domain.records.Wish.key`), ``*`` for each that has none of its own. ``phones_pace``: a
    phone of it said so too, once at least. ``opt_outs``: how it keeps to STOP; None: it does not.
    """

    max_stored: int | None = None
    max_queued: int | None = None
    max_sends_per_minute: int | None = None
    to_prefixes: tuple[str, ...] | None = None
    queue_ttl: int | None = None
    paces: dict[str, Pace] | None = None
    phones_pace: bool = False
    opt_outs: OptOuts | None = None

    @property
    def has_paces(self) -> bool:
        """Whether some SIM of the org may be paced."""
        return bool(self.paces) or self.phones_pace

    def over(self, default: Allowance) -> Allowance:
        """What then holds for the org."""
        own = {name: getattr(self, name) for name in NAMES}
        return Allowance(
            **{name: getattr(default, name) if v is None else v for name, v in own.items()}
        )


#: All limits of an org, by the names that they have everywhere.
NAMES: tuple[str, ...] = Allowance.__struct_fields__


def is_prefix(text: str) -> bool:
    """Whether a number may begin like this."""
    return re.match(PREFIX, text) is not None
