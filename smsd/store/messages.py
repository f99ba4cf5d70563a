"""Messages of both directions: how they are stored, handed over, settled and read.

Rows travel to Postgres as one JSON document a statement: to write it down costs the daemon 0.7 us a
message, with one parameter a value it is 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from msgspec import Struct

from smsd.domain.numbers import address_key, digits
from smsd.domain.query import MessageQuery
from smsd.domain.records import Inbound, Result, Ticket, Wish, jsoned, readable
from smsd.store import batches
from smsd.store.connection import Row
from smsd.store.database import Database, Transaction
from smsd.store.statements import named

_APPEND = named("append_messages")
_SETTLE = named("settle_results")
_CLAIM = named("claim_tickets")
_HANDED = named("read_handed")
_END = named("end_pushes")
_UNCONFIRMED = named("fail_unconfirmed_everywhere")
_WAITING = named("waiting_orgs")
_READ = named("read_messages")


class NewMessage(Struct, kw_only=True, omit_defaults=True):
    """A row to be stored, of either direction; what is not given is null.

    ``ord`` is given by the lane that stores it.
    """

    org_id: str
    status: str
    direction: str
    address: str
    address_key: str
    body: str
    ord: int = -1
    sim_slot: int | None = None
    sim_number: str | None = None
    sim_digits: str | None = None
    ask_sims: bool = False
    device_ts: int | None = None
    dedupe: str | None = None
    sim_asked: str | None = None
    sim_key: str | None = None
    ref: str | None = None
    attempts: int = 0
    session_id: str | None = None
    phone_id: str | None = None
    ledger: bool = False
    call_key: str | None = None
    fingerprint: str | None = None
    key_id: str | None = None
    #: Minus the priority; times in Unix milliseconds. A ``ttl`` is counted by the database's clock.
    rank: int = 0
    send_at: int | None = None
    expires_at: int | None = None
    ttl: int | None = None
    receipt: bool | None = None
    #: The id of an SMS that this ticket answers, also where its number has opted out.
    answers: int | None = None


class Served(Struct, frozen=True):
    """A queue that a session serves, and the SIM with which it does so, where known."""

    sim_key: str
    sim_slot: int | None = None
    sim_number: str | None = None
    sim_digits: str | None = None


class Pushed(Struct, frozen=True):
    """What is known of a push that has no result. Times in Unix milliseconds; None: never."""

    org_id: str
    id: int
    session_id: str
    phone_id: str
    pushed: int | None
    received: int | None


def arrived(org_id: str, sms: Inbound, number: str | None = None) -> NewMessage:
    """An SMS as a row. ``number``: what its phone reports for the slot, where that is known."""
    number = sms.number or number
    address = readable(sms.address or "")
    return NewMessage(
        org_id=org_id,
        status="received",
        direction="in",
        address=address,
        address_key=address_key(address),
        body=readable(sms.body or ""),
        sim_slot=sms.slot,
        sim_number=number,
        sim_digits=digits(number) if number else None,
        ask_sims=number is None and sms.slot is not None,
        device_ts=sms.device_ts,
        dedupe=sms.dedupe,
    )


async def append(where: Database | Transaction, rows: Sequence[NewMessage]) -> dict[int, int]:
    """Store rows (each with its place as its ``ord``); the ids given out, by ``ord``.

    A row that is missing from the answer belongs to an org that does not exist, or to a call
    whose key was taken. A ticket whose number has opted out is stored as failed, and its id is
    below zero here. After `Unanswered` see `appended`.
    """
    return dict(await batches.write(where, _APPEND, rows=jsoned(rows)))


async def appended(
    database: Database, rows: Sequence[NewMessage], batch_id: str
) -> dict[int, int] | None:
    """What ``append`` gave out for these rows, whose answer was lost; None: it stored nothing
    and never will. Of calls with a key it does not say whether the key was taken, and of tickets
    not whether they were refused."""
    firsts = await batches.look_up(database, batch_id)
    if firsts is None:
        return None
    following = {rows[ord_].org_id: count(id_) for ord_, id_ in firsts}
    return {row.ord: next(following[row.org_id]) for row in rows if row.org_id in following}


class Told(NamedTuple):
    """A result, and the SIM that took the ticket, where that is known by now."""

    result: Result
    served: Served | None = None


async def settle(database: Database, told: Sequence[Told]) -> list[str]:
    """Write results down, each ticket once; for each result
    ``settled``, ``repeated``, ``ignored`` (another ref) or ``unknown``."""
    rows = [
        {
            "ord": at,
            "org_id": result.org_id,
            "id": result.id,
            "status": result.status,
            "error": None if result.success else "phone_failed",
            "error_detail": None if result.success else result.error,
            "sent_at": result.sent_at,
            "ref": result.ref,
            "sim_slot": served and served.sim_slot,
            "sim_number": served and served.sim_number,
            "sim_digits": served and served.sim_digits,
        }
        for at, (result, served) in enumerate(told)
    ]
    verdicts: dict[int, str] = dict(await database.run(_SETTLE, rows=jsoned(rows)))
    return [verdicts[at] for at in range(len(told))]


class Handed(NamedTuple):
    """Tickets that a session may push, and the ids of those that ended instead."""

    tickets: list[Ticket]
    ended: list[int]

    @classmethod
    def of(cls, org_id: str, rows: Sequence[Row]) -> Handed:
        """From rows of id, status, address, body, sim, ref, attempts, expires_at, receipt, in the
        order in which they are to be pushed."""
        tickets = [
            Ticket(
                org_id=org_id,
                id=id_,
                to=to,
                body=body,
                sim=sim,
                ref=ref,
                attempt=attempts,
                expires_at=expires_at,
                receipt=receipt,
            )
            for id_, status, to, body, sim, ref, attempts, expires_at, receipt in rows
            if status == "sending"
        ]
        return cls(tickets, [id_ for id_, status, *_ in rows if status == "failed"])


async def claim(
    database: Database,
    org_id: str,
    *,
    serves: Sequence[Served],
    session_id: str,
    phone_id: str,
    ledger: bool,
    places: int,
) -> Handed:
    """Of the tickets that wait for this session those of the highest priority, and of these the
    oldest; at most ``places``, now ``sending``.

    After `Unanswered` see `handed`.
    """
    rows = await batches.write(
        database,
        _CLAIM,
        org_id=org_id,
        serves=jsoned(serves),
        session_id=session_id,
        phone_id=phone_id,
        ledger=ledger,
        places=places,
    )
    return Handed.of(org_id, rows)


async def handed(
    database: Database, org_id: str, *, session_id: str, batch_id: str
) -> Handed | None:
    """What a session was given whose claim had its answer lost; None: nothing, it is void."""
    ids = await batches.look_up(database, batch_id)
    if ids is None:
        return None
    return await still_handed(database, org_id, session_id=session_id, ids=ids)


async def still_handed(
    database: Database, org_id: str, *, session_id: str, ids: Sequence[int]
) -> Handed:
    """Of tickets that a session was given, those that are still its own, and those that failed."""
    rows = await database.run(_HANDED, org_id=org_id, ids=list(ids), session_id=session_id)
    return Handed.of(org_id, rows)


async def end_pushes(
    database: Database, pushes: Sequence[Pushed]
) -> list[tuple[str, int, str, str]]:
    """Write down what is known of a session's open pushes; (org, id, status, queue) of each
    that was open still or waits again. It may be repeated."""
    return await database.run(_END, rows=jsoned(pushes))


async def fail_unconfirmed_everywhere(
    database: Database, *, timeout: float, detail: str
) -> list[tuple[str, int]]:
    """End tickets that were handed over ``timeout`` seconds ago and never answered."""
    return await database.run(_UNCONFIRMED, timeout=timeout, detail=detail)


async def waiting_orgs(database: Database, org_ids: Sequence[str]) -> list[str]:
    """Which of these orgs have queued tickets."""
    return [org_id for (org_id,) in await database.run(_WAITING, org_ids=list(org_ids))]


async def read(database: Database, org_id: str, query: MessageQuery) -> bytes:
    """The JSON answer of ``GET /messages`` (contract section 2), as Postgres made it."""
    wish = Wish.of(query.sim)
    ((answer,),) = await database.run(
        _READ,
        org_id=org_id,
        since_id=query.since_id,
        before_id=query.before_id,
        direction=query.direction,
        status=query.status,
        address_key=None if query.address is None else address_key(query.address),
        sim_digits=digits(wish.number) if wish.number else None,
        sim_slot=wish.slot,
        newest_first=query.order == "desc",
        limit=query.limit,
    )
    return answer.encode()  # type: ignore[no-any-return]


def is_empty(page: bytes) -> bool:
    """Whether such an answer has no message. In one that has, an object stands last."""
    return page.endswith(b"[]}")
