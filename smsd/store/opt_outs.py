"""Numbers that want to hear nothing more: how they are listed and lifted, and which of their words
are to be answered.

What they say themselves is written down, and tickets to them are refused, by the statements that
store and claim (`smsd.store.messages`, `smsd.store.pacing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from smsd.domain.allowance import Own
from smsd.domain.opt_outs import OptOuts, What
from smsd.domain.records import jsoned
from smsd.store import limits, messages
from smsd.store.database import Database, Transaction
from smsd.store.messages import NewMessage
from smsd.store.statements import named

_HOLD_LIMITS = named("hold_limits")
_SET = named("set_opt_outs")
_READ = named("read_opt_outs")
_ADD = named("opt_out")
_LIFT = named("lift_opt_out")
_REFUSE = named("refuse_given")
_WOULD = named("would_refuse")
_OWING = named("owing_everywhere")
_HOLD = named("hold_counter")
_TAKE = named("take_owed")


class OptedOut(NamedTuple):
    """A number that wants to hear nothing more, of a SIM (its digits; empty: of any that knows no
    better), since when (RFC 3339), and the word that it sent, or None where the org did it."""

    key: str
    address: str
    sim: str
    since: str
    word: str | None


class Meant(NamedTuple):
    """A ticket that might be sent: to whom, and the SIM that would send it (its digits, where they
    are known). ``taken``: a phone would take it."""

    key: str
    sim: str | None
    taken: bool


class Owed(NamedTuple):
    """An SMS (by its id) that is to be answered, by the SIM that heard it as far as it is known."""

    what: What
    address: str
    sim_slot: int | None
    sim_number: str | None
    message_id: int


async def set_how(database: Database, org_id: str, opt_outs: OptOuts | None) -> Own:
    """From now on the org keeps to it like this, or (None) does not; what it has set.

    Raises `DataRefused` where there is no such org.
    """

    async def body(tx: Transaction) -> Own:
        await tx.run(_HOLD_LIMITS, org_id=org_id)
        text = None if opt_outs is None else jsoned(opt_outs)
        ((row,),) = await tx.run(_SET, org_id=org_id, opt_outs=text)
        return limits.row(row)

    return await database.transaction("set opt-outs", body)


async def listed(
    database: Database, org_id: str, *, after: tuple[str, str] = ("", ""), most: int
) -> list[OptedOut]:
    """A page of the list in the order of key and SIM, after such a pair."""
    return await _read(database, org_id, None, after, most)


async def of(database: Database, org_id: str, key: str, *, most: int = 100) -> list[OptedOut]:
    """What the list has of one number."""
    return await _read(database, org_id, key, ("", ""), most)


async def _read(
    database: Database, org_id: str, key: str | None, after: tuple[str, str], most: int
) -> list[OptedOut]:
    rows = await database.run(
        _READ,
        org_id=org_id,
        address_key=key,
        after_key=after[0],
        after_sim=after[1],
        most=most,
    )
    return [OptedOut(*row) for row in rows]


async def add(database: Database, org_id: str, key: str, address: str) -> None:
    """Put a number on the list, for every SIM; it may be there already.

    Raises `DataRefused` where there is no such org.
    """
    await database.run(_ADD, org_id=org_id, address_key=key, address=address)


async def lift(database: Database, org_id: str, key: str) -> bool:
    """Take a number from the list; whether it was there."""
    return bool(await database.run(_LIFT, org_id=org_id, address_key=key))


async def refuse_given(
    database: Database, org_id: str, ids: Sequence[int], *, given: Sequence[int]
) -> frozenset[int]:
    """Those of these tickets that have ended because their number has opted out, once those that
    are ``given`` (to a session that has not pushed them) have ended too. It may be repeated."""
    rows = await database.run(_REFUSE, org_id=org_id, ids=list(ids), given=list(given))
    return frozenset(id_ for (id_,) in rows)


async def would_refuse(database: Database, org_id: str, meant: Sequence[Meant]) -> set[int]:
    """The places of those that would end because their number has opted out."""
    rows = [
        {"ord": at, "address_key": one.key, "sim_digits": one.sim, "taken": one.taken}
        for at, one in enumerate(meant)
    ]
    return {at for (at,) in await database.run(_WOULD, org_id=org_id, rows=jsoned(rows))}


async def owing_everywhere(database: Database, *, most: int = 100) -> list[str]:
    """Orgs that owe somebody an answer."""
    return [org_id for (org_id,) in await database.run(_OWING, most=most)]


async def answer(
    database: Database, org_id: str, rows: Callable[[Sequence[Owed]], list[NewMessage]]
) -> list[NewMessage]:
    """Make tickets of what the org owes, in one commit with the note that it is done; what
    ``rows`` made of it. It may be repeated."""

    async def body(tx: Transaction) -> list[NewMessage]:
        await tx.run(_HOLD, org_id=org_id)  # as whoever writes down what is owed
        made = rows([Owed(*row) for row in await tx.run(_TAKE, org_id=org_id)])
        for at, row in enumerate(made):
            row.ord = at
        if made:
            await messages.append(tx, made)
        return made

    return await database.transaction("answer opt-outs", body)
