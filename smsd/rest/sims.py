"""``GET /sims``: which SIMs an org has, and which of them are in connected phones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, Struct, UnsetType

from smsd.domain.records import KnownSim, Label, SimNumber, Slot
from smsd.gateway.paces import SimPace
from smsd.rest.identity import Identity
from smsd.rest.route import route

if TYPE_CHECKING:
    from smsd.gateway.doorman import Caller
    from smsd.rest.services import Services


class LiveSim(Struct, frozen=True, kw_only=True):
    """A SIM in a connected phone. Where it is paced, `pace` tells what each of its windows has
    left, how many segments may go now, and (`next_slot`, null where some may) from when on the
    next."""

    slot: Slot
    number: SimNumber | None
    label: Label | None
    carrier: Label | None
    pace: SimPace | UnsetType = UNSET


class Sims(Struct, frozen=True, kw_only=True):
    """How many phones are connected, the SIMs in them, and all SIMs that were ever reported."""

    online_devices: int
    live_sims: list[LiveSim]
    known_sims: list[KnownSim]


_SIM = {"slot": 0, "number": "+15550001111", "label": "SIM1", "carrier": "AT&T"}


@route(
    "GET",
    "/sims/<org_id>",
    "/sims/<org_id>/<secret_key>",
    identity=Identity.MEMBER,
    scopes=("read",),
    answer=Sims,
    example={
        "online_devices": 1,
        "live_sims": [_SIM],
        "known_sims": [{**_SIM, "last_seen": "2023-11-14T22:13:20.123456+00:00"}],
    },
)
async def list_sims(services: Services, agent: Caller) -> bytes:
    """List the SIMs of the org.

    `live_sims` are those of connected phones, with what they may send yet where they are paced;
    `known_sims` every SIM that was ever reported, the newest report first.
    """
    return await services.sims(agent)
