"""What paced SIMs were given, and how they are given more: a claim that counts.

One transaction: nobody else hands anything to these SIMs, what they were given lately is read,
those whose turn it is are claimed and counted. So no number of nodes or sessions exceeds a SIM's
windows, and what was handed out counts whatever dies. SIMs without a pace are claimed for in
`smsd.store.messages`, and never come here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from smsd.domain.allowance import Own
from smsd.domain.pacing import Meter, Pace, Span, Use, horizon
from smsd.domain.ration import Turn, Waiting, closed, ration
from smsd.domain.records import jsoned
from smsd.domain.segments import cut
from smsd.store import limits
from smsd.store.connection import Row
from smsd.store.database import Database, Transaction
from smsd.store.messages import Handed, Served
from smsd.store.statements import named
from smsd.store.trouble import Unanswered

_HOLD = named("hold_sims")
_USES = named("read_uses")
_TURNS = named("read_turns")
_CLAIM = named("claim_in_turn")
_GIVE_BACK = named("give_back")
_HOLD_LIMITS = named("hold_limits")
_SET = named("set_paces")

#: A SIM, by its key, with all the windows that it has to keep to.
Sims = Mapping[str, tuple[Span, ...]]


class PacedQueue(NamedTuple):
    """A queue that a session serves, and the paced SIMs that its tickets are counted at: more than
    one where the phone chooses."""

    served: Served
    sims: tuple[str, ...]


class Metered(NamedTuple):
    """SIMs at one moment of the database's clock (seconds since 1970), and whose ticket each had
    last."""

    now: float
    meters: dict[str, Meter]
    last: dict[str, Turn]


async def metered(where: Database | Transaction, org_id: str, sims: Sims) -> Metered:
    """What these SIMs may send now."""
    rows = await where.run(_USES, org_id=org_id, sim_keys=list(sims))
    now, uses = rows[0][0], [row[1:] for row in rows if row[1] is not None]
    meters = {
        sim: Meter(spans, [Use(at, segments) for key, at, segments, _ in uses if key == sim], now)
        for sim, spans in sims.items()
    }
    last = {sim: Turn(at, whose or "") for sim, at, _, whose in uses}
    return Metered(now, meters, last)


@dataclass(eq=False)
class Claim:
    """One claim for a session, at most ``places`` tickets."""

    org_id: str
    queues: Sequence[PacedQueue]
    sims: Sims
    session_id: str
    phone_id: str
    ledger: bool
    places: int
    #: In how many seconds something of a queue that is closed may go; of the last run.
    opens_in: dict[str, float] = field(default_factory=dict)

    async def run(self, database: Database) -> Handed:
        """The tickets whose turn it is, now ``sending``. After `Unanswered` see
        `smsd.store.messages.handed`."""
        batch_id = str(uuid.uuid4())

        async def body(tx: Transaction) -> Handed:
            return await self._claim(tx, batch_id)

        try:
            return await database.transaction("claim in turn", body)
        except Unanswered as lost:
            lost.batch_id = batch_id
            raise

    async def _claim(self, tx: Transaction, batch_id: str) -> Handed:
        await tx.run(_HOLD, org_id=self.org_id, sim_keys=list(self.sims))
        found = await metered(tx, self.org_id, self.sims)
        queues = {queue.served.sim_key: queue.sims for queue in self.queues}
        opens = closed(queues, found.meters, found.now)
        queues = {queue: sims for queue, sims in queues.items() if queue not in opens}
        waiting = await self._turns(tx, list(queues)) if queues else []
        chosen, later = ration(
            queues, found.meters, waiting, found.last, now=found.now, places=self.places
        )
        self.opens_in = {queue: at - found.now for queue, at in {**opens, **later}.items()}
        handed = await self._take(tx, batch_id, chosen, queues) if chosen else Handed([], [])
        if handed.ended:  # they have left their turns to others
            self.opens_in = {}
        return handed

    async def _turns(self, tx: Transaction, queues: list[str]) -> list[Waiting]:
        rows = await tx.run(_TURNS, org_id=self.org_id, sim_keys=queues, most=self.places)
        return [
            Waiting(queue, id_, cut(body).segments, whose or "")
            for queue, id_, body, whose, _ in rows
        ]

    async def _take(
        self,
        tx: Transaction,
        batch_id: str,
        chosen: Sequence[Waiting],
        queues: Mapping[str, tuple[str, ...]],
    ) -> Handed:
        rows: list[Row] = await tx.run(
            _CLAIM,
            org_id=self.org_id,
            serves=jsoned([queue.served for queue in self.queues]),
            chosen=jsoned(
                [
                    {"ord": at, "id": one.id, "segments": one.segments, "sims": queues[one.queue]}
                    for at, one in enumerate(chosen)
                ]
            ),
            sim_keys=list(self.sims),
            seconds=_horizon(self.sims.values()),
            session_id=self.session_id,
            phone_id=self.phone_id,
            ledger=self.ledger,
            batch_id=batch_id,
        )
        return Handed.of(self.org_id, rows)


async def give_back(database: Database, org_id: str, ticket_id: int) -> bool:
    """A ticket that has expired counts at no SIM any more; whether it did. It may be repeated."""
    return bool(await database.run(_GIVE_BACK, org_id=org_id, id=ticket_id))


async def set_pace(database: Database, org_id: str, sim: str, pace: Pace | None) -> Own:
    """The SIMs that are asked for like this may send so much, or (None) whatever they may without
    this; what the org has set from now on.

    Raises `DataRefused` where there is no such org.
    """

    async def body(tx: Transaction) -> Own:
        ((text,),) = await tx.run(_HOLD_LIMITS, org_id=org_id)
        paces = dict(limits.row(text).paces or {})
        paces.pop(sim, None)
        if pace is not None:
            paces[sim] = pace
        ((text,),) = await tx.run(_SET, org_id=org_id, paces=jsoned(paces) if paces else None)
        return limits.row(text)

    return await database.transaction("set a pace", body)


def _horizon(each: Iterable[tuple[Span, ...]]) -> float:
    return max(map(horizon, each), default=0.0)
