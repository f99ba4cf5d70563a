"""Phones on line, the SIMs they report, and the nodes that hold them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from smsd.domain.pacing import Pace
from smsd.domain.records import jsoned
from smsd.store.database import Database
from smsd.store.statements import named

#: A node that was not heard for so long is dead to the others. Seconds.
NODE_TIMEOUT = 15

_BEGIN = named("begin_sessions")
_REPORT = named("report_sims")
_END = named("end_sessions")
_READ = named("read_sims")
_BEAT = named("beat")
_LEAVE = named("leave")
_SWEEP = named("sweep_nodes_everywhere")


class SessionRow(Struct, frozen=True, omit_defaults=True):
    """A phone on line. ``sims`` None: it has reported none yet."""

    org_id: str
    session_id: str
    phone_id: str | None = None
    sims: list[SimRow] | None = None


class SimRow(Struct, frozen=True):
    """A SIM as a row; ``sim_key`` is by what the org remembers it; ``pace``: its phone's word."""

    sim_key: str
    slot: int
    number: str | None
    label: str | None
    carrier: str | None
    pace: Pace | UnsetType = UNSET


async def begin(database: Database, node_id: str, sessions: Sequence[SessionRow]) -> None:
    """These phones have come on line at this node."""
    await database.run(_BEGIN, node_id=node_id, rows=jsoned(sessions))


async def report(database: Database, sessions: Sequence[SessionRow]) -> None:
    """These phones now hold these SIMs; each session stands here once."""
    await database.run(_REPORT, rows=jsoned(sessions))


async def end(database: Database, sessions: Sequence[SessionRow]) -> None:
    """These phones have gone."""
    await database.run(_END, rows=jsoned(sessions))


async def read_sims(database: Database, org_id: str, *, paced: bool = False) -> bytes:
    """The JSON answer of ``GET /sims`` (contract section 2), as Postgres made it. Of live SIMs of
    which their phone says how fast they may send, or of all (``paced``), with ``sim_key`` and
    ``said``, which are nobody else's."""
    ((answer,),) = await database.run(_READ, org_id=org_id, node_timeout=NODE_TIMEOUT, paced=paced)
    return answer.encode()  # type: ignore[no-any-return]


async def beat(database: Database, node_id: str) -> bool:
    """This node is alive; whether it has to tell of its sessions (again)."""
    ((born,),) = await database.run(_BEAT, node_id=node_id)
    return bool(born)


async def leave(database: Database, node_id: str) -> None:
    """This node has gone, and its sessions with it."""
    await database.run(_LEAVE, node_id=node_id)


async def sweep_nodes_everywhere(database: Database) -> list[str]:
    """Forget nodes that are dead, with their sessions; their ids."""
    return [node_id for (node_id,) in await database.run(_SWEEP, timeout=NODE_TIMEOUT)]
