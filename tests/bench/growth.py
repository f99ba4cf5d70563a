"""Years later: the gateway on a database that has grown, with one org that has half of it all.

A thousand orgs, a hundred known SIMs each. Rows are made in the database; secondary indexes are
made after them, as they are then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.figures import Row
from bench.phones import phones
from bench.postgres import Database
from bench.scenarios import Asked, polls, sends
from bench.sides import Running

ORGS, SIMS = 1000, 100
#: Seconds in a year, for a message each.
YEAR = 365 * 24 * 3600

_MESSAGES = """
INSERT INTO messages (org_id, id, status, direction, address, address_key, body, sim_slot,
    sim_number, sim_digits, device_ts, dedupe, sim_key, ref, attempts, session_id, handed_at,
    sent_at, created_at)
SELECT 'bench' || o, n, CASE WHEN out THEN 'sent' ELSE 'received' END,
    CASE WHEN out THEN 'out' ELSE 'in' END, '+1555' || lpad((n % 5000)::text, 7, '0'),
    '1555' || lpad((n % 5000)::text, 7, '0'), 'a text as long as most of those that people write',
    0, '+1555' || n % 100, '1555' || n % 100,
    CASE WHEN NOT out THEN 1700000000000 + n END,
    CASE WHEN NOT out THEN sha256((o || ' ' || n)::bytea) END,
    CASE WHEN out THEN '*' END, CASE WHEN out THEN md5(o || ' ' || n) END,
    CASE WHEN out THEN 1 ELSE 0 END,
    CASE WHEN out THEN '00000000-0000-4000-8000-000000000001'::uuid END,
    CASE WHEN out THEN now() END, CASE WHEN out THEN now() END,
    now() - interval '1 year'
FROM generate_series(0, {orgs} - 1) AS o
CROSS JOIN LATERAL (
    SELECT n, n % 4 = 0 AS out
    FROM generate_series(1, CASE o WHEN 0 THEN {half} ELSE {half} / ({orgs} - 1) END) AS n
) AS rows
"""
_COUNTERS = """
UPDATE org_counters AS c SET last_id = m.last_id
FROM (SELECT org_id, max(id) AS last_id FROM messages GROUP BY org_id) AS m
WHERE c.org_id = m.org_id
"""
_SIMS = """
INSERT INTO sims (org_id, sim_key, slot, number, label, carrier, last_seen)
SELECT org_id, '1777' || n, n % 2, '+1777' || n, 'SIM', 'Bench', now()
FROM orgs CROSS JOIN generate_series(1, {}) AS n
"""
_INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i WHERE i.indrelid = 'messages'::regclass AND NOT i.indisprimary
"""
_HOT = """
SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
WHERE n_tup_upd >= 10 ORDER BY n_tup_upd DESC
"""


def grow(one: Running, rows: int) -> None:
    """So many messages, half of them in the first org."""
    database = one.database
    with _indexes_away(database):
        database.ask(_MESSAGES.format(orgs=ORGS, half=rows // 2))
    database.ask(_COUNTERS)
    database.ask(_SIMS.format(SIMS))
    database.ask("VACUUM ANALYZE")
    database.ask("CHECKPOINT; SELECT pg_stat_reset()")


@contextmanager
def _indexes_away(database: Database) -> Iterator[None]:
    found = database.ask(_INDEXES)
    for name, _ in found:
        database.ask(f"DROP INDEX {name}")
    yield
    for _, made in found:
        database.ask(f"SET maintenance_work_mem = '512MB'; {made}")


def polled(one: Running, asked: Asked, rows: int) -> Row:
    """Pages from the middle of the largest org."""
    return polls(one, asked, rows // 4)


def sent(one: Running, asked: Asked) -> Row:
    """Tickets of the largest org, to its one phone."""
    with phones(one.port) as flock:
        flock.come()
        return sends(one, asked)


def on_disk(one: Running) -> Row:
    """What the messages take, their indexes and all."""
    size = one.database.number("SELECT pg_total_relation_size('messages')")
    indexes = one.database.number("SELECT pg_indexes_size('messages')")
    each = size / one.database.number("SELECT count(*) FROM messages")
    return {
        "bytes a message": each,
        "of these indexes": indexes / size * each,
        "GiB a year at 1/s": each * YEAR / 2**30,
    }


def updates(one: Running) -> Iterator[tuple[str, Row]]:
    """Of each table that was updated, how many updates stayed on their page and left the indexes
    alone (HOT). The backends tell what they did when they end: the gateway must have stopped."""
    for table, updated, hot in one.database.ask(_HOT):
        yield table, {"updates": updated, "HOT %": 100 * hot / updated}
