"""What an org has set for itself, for ``smsd org show``: how fast its SIMs may send, and how it
keeps to STOP. The texts that it answers with are left out.

What its operator has set is `smsd.repair.limits`'."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from smsd.domain.allowance import Own
from smsd.domain.opt_outs import OptOuts, Scope, What
from smsd.domain.pacing import Pace


class PaceSeen(Pace, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of a SIM: of a number, by its digits, of a ``slot:``, or (null) of all others."""

    sim: str | None

    def __str__(self) -> str:
        windows = [f"{window.segments} in {window.seconds} s" for window in self.limits]
        at_once = [] if self.burst is None else [f"{self.burst} at once"]
        return f"{self.sim or 'any SIM'}: {' and '.join([*windows, *at_once])}"


class OptOutsSeen(Struct, frozen=True):
    """For whom a STOP holds, and which kinds of words are answered."""

    scope: Scope
    answers: list[What]

    def __str__(self) -> str:
        whole = "for the whole org" if self.scope == "org" else "for the SIM that hears it"
        return f"{whole}, answers {', '.join(self.answers) or 'nothing'}"


def seen(own: Own) -> dict[str, Any]:
    """Both by their names."""
    paces = own.paces or {}
    return {
        "paces": [_pace(key, paces[key]) for key in sorted(paces)],
        "opt_outs": own.opt_outs and _opt_outs(own.opt_outs),
    }


def _pace(key: str, pace: Pace) -> PaceSeen:
    return PaceSeen(sim=None if key == "*" else key, **asdict(pace))


def _opt_outs(how: OptOuts) -> OptOutsSeen:
    kinds: tuple[What, ...] = ("stopped", "started", "help")
    return OptOutsSeen(how.scope, [what for what in kinds if how.answer(what) is not None])
