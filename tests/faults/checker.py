"""Reads the database when all is quiet, and holds it against what the journal says.

What must be 0 and what may be counted is `faults.table`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from faults import arrivals, posted, told, wishes
from faults.agents import FAILS, MUTE
from faults.endpoints import Hook
from faults.journal import OK, OUTBOUND, REFUSED, UNKNOWN, Round

from smsd.store.statements import named

_ROWS = """
    SELECT org_id, id, direction, address, body, status, attempts, ledger, error,
        coalesce(handed_at > expires_at, false) OR coalesce(handed_at < send_at, false)
    FROM messages
    WHERE id > coalesce((%s::jsonb ->> org_id)::bigint, 0)
"""
_FLOORS = "SELECT org_id, last_id FROM org_counters"
_OPEN = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending')"
_SAFE = "SELECT body FROM messages"


@dataclass(frozen=True, slots=True)
class Row:
    """A message as it is stored."""

    org_id: str
    id: int
    direction: str
    address: str
    body: str
    status: str
    attempts: int
    ledger: bool
    error: str | None
    #: A phone was given it before its time or after.
    untimely: bool


@dataclass
class Findings:
    """Counts by name, and for each that must be 0 some examples."""

    counts: Counter[str]
    examples: dict[str, list[str]]

    def note(self, name: str, example: object) -> None:
        self.counts[name] += 1
        examples = self.examples.setdefault(name, [])
        if len(examples) < 5:
            examples.append(str(example))


class Checker:
    """``connection`` is psycopg2's, past whatever stands between the gateway and the database."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def floors(self) -> dict[str, int]:
        """The last id of each org, below which a round has nothing to look for."""
        return dict(self._ask(_FLOORS))

    def listen(self, org_ids: Sequence[str]) -> None:
        """From now on what happens in these orgs is written down as events."""
        with self._connection.cursor() as cursor:
            for org_id in org_ids:
                cursor.execute(named("listen").sql, {"org_id": org_id, "keep": 86_400})

    def last_events(self, org_ids: Sequence[str]) -> dict[str, int]:
        """The cursor of each org at which a reader knows everything."""
        return dict(self._ask(told.LAST, list(org_ids)))

    def hooks_behind(self) -> int:
        """Events that hooks have yet to look at."""
        ((number,),) = self._ask(posted.BEHIND)
        return int(number)

    def open_tickets(self) -> int:
        """Tickets that have not come to their end."""
        ((number,),) = self._ask(_OPEN)
        return int(number)

    def unheard(self, reported: Collection[tuple[str, int]]) -> int:
        """Of these tickets, by org and id, those that are not delivered though phones said so."""
        orgs, ids = [org_id for org_id, _ in reported], [id_ for _, id_ in reported]
        ((number,),) = self._ask(arrivals.UNHEARD, orgs, ids)
        return int(number)

    def missing(self, words: set[str]) -> set[str]:
        """Of all these texts, those that are not stored (any more)."""
        return words - {body for (body,) in self._ask(_SAFE)}

    def check(self, seen: Round, floors: str, hooks: Sequence[Hook] = ()) -> Findings:
        """Everything that can be said of one round. ``floors`` in JSON."""
        rows = [Row(*row) for row in self._ask(_ROWS, floors)]
        found = Findings(Counter(), {})
        _calls(seen, found)
        _texts(seen, rows, found)
        _pushes(seen, rows, found)
        _tickets(seen, rows, found)
        wishes.hold(seen, rows, found)
        arrivals.hold(seen, rows, found)
        events = [told.Event(*event) for event in self._ask(told.EVENTS, floors)]
        listeners = {org_id for (org_id,) in self._ask(told.LISTENERS)}
        told.hold(rows, events, listeners, found)
        told.heard(seen, events, found)
        posted.hold(seen, rows, events, hooks, found)
        return found

    def _ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()  # type: ignore[no-any-return]


def _calls(seen: Round, found: Findings) -> None:
    for (_, outcome), number in seen.calls.items():
        name = {OK: "calls acknowledged", REFUSED: "calls refused", UNKNOWN: "calls unknown"}
        found.counts[name[outcome]] += number
    for what, number in seen.wrong.items():
        found.counts["wrong answers"] += number
        found.examples.setdefault("wrong answers", []).append(f"{number} x {what}")
    found.counts["pushes witnessed"] += seen.witnessed
    found.counts["pushed before commit"] += seen.premature


def _texts(seen: Round, rows: list[Row], found: Findings) -> None:
    stored = Counter(row.body for row in rows)
    by_id = {(row.org_id, row.id): row for row in rows}
    for words, text in seen.texts.items():
        found.counts["texts attempted"] += 1
        found.counts["texts acknowledged"] += bool(text.acknowledged)
        if text.acknowledged and not stored[words]:
            found.note("lost", (words, text))
        if text.ticket is not None:
            row = by_id.get((text.org_id, text.ticket))
            if row is None or row.body != words:
                found.note("lost", (words, text, row))
        if text.keyed and text.way in OUTBOUND and (stored[words] > 1 or text.two_answers):
            found.note("sent twice under one key", (words, text, stored[words]))
            continue
        most = 1 if text.keyed or text.way in OUTBOUND else text.attempts
        if stored[words] > most:
            found.note("stored twice", (words, text, stored[words]))


def _pushes(seen: Round, rows: list[Row], found: Findings) -> None:
    known = {(row.org_id, row.id, row.body) for row in rows if row.direction == "out"}
    ids: dict[str, set[tuple[str, int]]] = {}
    for (org_id, ticket), pushes in seen.pushes.items():
        found.counts["pushes"] += len(pushes)
        found.counts["pushed again, same id"] += len(pushes) - 1
        for push in pushes:
            ids.setdefault(push.words, set()).add((org_id, ticket))
            if (org_id, ticket, push.words) not in known:
                found.note("pushed before commit", (org_id, ticket, push))
    for words, under in ids.items():
        if len(under) > 1:
            found.note("pushed under two ids", (words, under))


def _tickets(seen: Round, rows: list[Row], found: Findings) -> None:
    for row in _outbound(rows):
        found.counts["tickets"] += 1
        found.counts[f"tickets {row.status}"] += 1
        phones = seen.radioed.get(row.body, [])
        _doubles(row, phones, found)
        if row.status in ("queued", "sending"):
            found.note("stuck", row)
        told = seen.texts.get(row.body)
        if told is not None and told.cancelled and row.status != "cancelled":
            found.note("told as cancelled, and is not", row)
        if row.status == "cancelled" and phones:
            found.note("cancelled, and sent", (row, phones))
        if row.status == "sent" and row.body not in seen.confirmed:
            found.note("told as sent, and never was", row)
        meant = row.error == "opted_out" or row.body.endswith((FAILS, MUTE))
        if row.status == "failed" and not meant:
            _given_up(row, phones, row.body in seen.confirmed, found)


def _given_up(row: Row, phones: list[str], confirmed: bool, found: Findings) -> None:
    if phones:
        found.note("given up, sent", row)
    else:
        found.note("given up, not sent" + (" by a ledger phone" if row.ledger else ""), row)
    if confirmed and row.ledger and any(name.startswith("ledger") for name in phones):
        found.note("a ledger phone's word lost", row)


def _doubles(row: Row, phones: list[str], found: Findings) -> None:
    if len(phones) < 2:
        return
    ledgers = [name for name in phones if name.startswith("ledger")]
    if len(ledgers) > len(set(ledgers)):
        found.note("sent twice by a ledger phone", (row, phones))
    elif len(phones) > len(set(phones)):
        found.note("sent twice by a plain phone", (row, phones))
    else:
        found.note("sent by two phones", (row, phones))


def _outbound(rows: list[Row]) -> Iterator[Row]:
    return (row for row in rows if row.direction == "out")
