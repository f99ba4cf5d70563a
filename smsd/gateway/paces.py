"""An org says how fast its SIMs may send, and sees what they have left.

What follows from it for tickets is `smsd.gateway.pacing`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from smsd.domain.errors import Fault, Invalid, Unauthorised
from smsd.domain.moments import Rfc3339, at
from smsd.domain.numbers import digits, masked
from smsd.domain.pacing import Left, Meter, Pace, Span
from smsd.domain.records import Wish
from smsd.gateway.allowances import Allowances
from smsd.gateway.doorman import Caller
from smsd.gateway.feeding import Feeding
from smsd.gateway.pacing import Pacing, spans
from smsd.store import limits, pacing, phones
from smsd.store.database import Database
from smsd.store.trouble import DataRefused

#: For so many SIMs an org may say something: all of it is read with the org.
MOST = 100


class SimPace(Struct, frozen=True):
    """What a SIM may send: its windows, how many segments may go now, and where none may, from
    when on the next one."""

    windows: list[Left]
    left: int
    next_slot: Rfc3339 | None


class Paces:
    """What the orgs have set, as their people manage it."""

    _log = Logger()

    def __init__(
        self, database: Database, allowances: Allowances, feeding: Feeding, pacing: Pacing
    ) -> None:
        self._database = database
        self._allowances = allowances
        self._feeding = feeding
        self._pacing = pacing

    async def all(self, caller: Caller) -> dict[str, Pace]:
        """What the org has set, by `Wish.key`."""
        found = await limits.read(self._database, [caller.org_id])
        own = found.get(caller.org_id)
        return (own and own.paces) or {}

    async def set(self, caller: Caller, wish: Wish, pace: Pace) -> dict[str, Pace]:
        """SIMs that are asked for like this may send so much; a pace without limits is none. Holds
        at once on this node, within seconds on others.

        Raises `Invalid` where the org has set enough.
        """
        org_id, new = caller.org_id, pace if pace.limits else None
        before = await self.all(caller)
        if new is not None and wish.key not in before and len(before) >= MOST:
            raise Invalid(
                errors=[Fault(["sim"], f"is one too many: limits are set for {MOST} SIMs already")]
            )
        try:
            own = await pacing.set_pace(self._database, org_id, wish.key, new)
        except DataRefused:  # the org was deleted meanwhile
            raise Unauthorised() from None
        self._allowances.learn(org_id, own)
        self._feeding.look_again(org_id)
        self._log.info(
            "org {org} has {what} for SIM {sim}",
            org=org_id,
            what="no limits any more" if new is None else "set limits",
            sim=masked(wish.text or "*"),
        )
        return own.paces or {}

    async def sims(self, caller: Caller) -> bytes:
        """The JSON of ``GET /sims``; of each SIM on line that is paced also its `SimPace`."""
        org_id = caller.org_id
        concerned = self._pacing.concerns(org_id)
        answer = await phones.read_sims(self._database, org_id, paced=concerned)
        if b'"sim_key"' not in answer:
            return answer
        told = msgspec.json.decode(answer)
        told["live_sims"] = await self._with_paces(org_id, told["live_sims"])
        return msgspec.json.encode(told)

    async def _with_paces(self, org_id: str, sims: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_key: dict[str, tuple[Span, ...]] = {}
        for sim in sims:
            key, said = sim.get("sim_key"), sim.pop("said", None)
            if key and (found := self._spans(org_id, sim, said)):
                by_key[key] = (*by_key.get(key, ()), *found)
        meters: Mapping[str, Meter] = {}
        if by_key:
            now, meters, _ = await pacing.metered(self._database, org_id, by_key)
        for sim in sims:
            meter = meters.get(sim.pop("sim_key", ""))
            if meter is not None:
                sim["pace"] = _told(meter, now)
        return sims

    def _spans(self, org_id: str, sim: dict[str, Any], said: Any) -> tuple[Span, ...]:
        own = self._allowances.paced(org_id)
        theirs = msgspec.convert(said, Pace).spans if said else ()
        return spans(own, sim["slot"], digits(sim["number"] or "")) + theirs


def _told(meter: Meter, now: float) -> SimPace:
    opens = meter.opens()
    return SimPace(meter.windows, meter.left, at(opens) if opens > now else None)
