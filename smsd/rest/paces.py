"""``/paces``: an org says how fast its SIMs may send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from smsd.domain.pacing import Pace, Segments, Windows
from smsd.domain.records import SimAsked, SimIndex, Wish
from smsd.rest.body import Body, Identified
from smsd.rest.identity import Identity
from smsd.rest.route import SECRET_ONLY, route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsd.gateway.doorman import Caller
    from smsd.rest.services import Services


class PaceAsked(Identified, frozen=True, kw_only=True):
    """Limits in segments for a SIM: its number, or its slot (0 to 15) for every SIM in that slot,
    or, without `sim`, for every SIM that has no limits of its own. No limit at all takes back what
    was set."""

    sim: SimAsked | SimIndex | None = None
    max_per_minute: Segments | None = None
    max_per_hour: Segments | None = None
    max_per_day: Segments | None = None
    windows: Windows = []  # noqa: RUF012 - a Struct copies it
    burst: Segments | None = None

    def __post_init__(self) -> None:
        _ = self.pace  # which refuses what means nothing

    @property
    def pace(self) -> Pace:
        """What was asked, without who asks."""
        return Pace(**{name: getattr(self, name) for name in Pace.__struct_fields__})


class PaceShown(Pace, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of a SIM: of a number, by its digits, or of a slot, or (null) of all others."""

    sim: str | None


class Paces(Struct, frozen=True, kw_only=True):
    """All limits that the org has set for its SIMs."""

    org_id: str
    count: int
    paces: list[PaceShown]


_ANDROID = {"sim": "+15550001111", "windows": [{"segments": 30, "seconds": 1800}], "burst": 5}
_SHOWN = {
    "org_id": "myorg",
    "count": 2,
    "paces": [
        {"sim": None, "max_per_minute": 10, "max_per_day": 500},
        {"sim": "15550001111", "windows": [{"segments": 30, "seconds": 1800}], "burst": 5},
    ],
}

#: A burst is of a limit.
_LIMITED = {
    "anyOf": [
        {"properties": {"burst": {"type": "null"}}},
        *(
            {"required": [name], "properties": {name: {"type": "integer"}}}
            for name in ("max_per_minute", "max_per_hour", "max_per_day")
        ),
        {"required": ["windows"], "properties": {"windows": {"minItems": 1}}},
    ]
}


@route(
    "GET",
    "/paces/<org_id>",
    identity=Identity.MEMBER,
    scopes=("read",),
    answer=Paces,
    example=_SHOWN,
)
async def list_paces(services: Services, caller: Caller) -> Paces:
    """List how fast the SIMs of the org may send.

    What the org has set. What phones say of their SIMs counts too, and the smaller wins: `GET
    /sims` shows what each SIM has left.
    """
    return _shown(caller.org_id, await services.paces.all(caller))


@route(
    "POST",
    "/paces/<org_id>",
    identity=Identity.MEMBER,
    scopes=SECRET_ONLY,
    body=Body(PaceAsked, example=_ANDROID, rule=_LIMITED),
    answer=Paces,
    example=_SHOWN,
)
async def set_pace(services: Services, caller: Caller, body: PaceAsked) -> Paces:
    """Say how fast a SIM may send.

    In segments: `max_per_minute`, `max_per_hour`, `max_per_day`, other `windows`, and `burst`, how
    many may go at once before they are spaced. Tickets beyond that wait and go by themselves.
    It replaces what was set for that SIM.
    """
    return _shown(caller.org_id, await services.paces.set(caller, Wish.of(body.sim), body.pace))


def _shown(org_id: str, paces: Mapping[str, Pace]) -> Paces:
    shown = [PaceShown(sim=_sim(key), **_fields(paces[key])) for key in sorted(paces)]
    return Paces(org_id=org_id, count=len(shown), paces=shown)


def _sim(key: str) -> str | None:
    return None if key == "*" else key.removeprefix("slot:")


def _fields(pace: Pace) -> dict[str, Any]:
    return msgspec.structs.asdict(pace)
