"""The limit: pgbench stores the gateway's rows on the same Postgres, with nothing before it.

One row a transaction, as a client of Postgres would write it, and as many in one statement as a
batch of the gateway's may hold under load. What is left out: SIMs that are looked up, ids from the
org's counter, which a sequence gives here.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.figures import Row
from bench.meter import cpu
from bench.sides import Running

_ROWS = """
INSERT INTO messages (org_id, id, status, direction, address, address_key, body, sim_slot,
    device_ts, dedupe)
SELECT 'bench0', n, 'received', 'in', '+15551234567', '15551234567',
    'a text as long as most of those that people write', 0, 1700000000000 + n,
    sha256(n::text::bytea)
FROM (SELECT nextval('bench_ids') AS n FROM generate_series(1, {rows})) AS numbers;
"""


def limit(one: Running, seconds: float, clients: int, rows: int) -> Row:
    """Into the schema that ``one`` has made; it should have nothing to do meanwhile."""
    one.database.ask(
        """CREATE SEQUENCE IF NOT EXISTS bench_ids START 1000000000;
           GRANT USAGE ON SEQUENCE bench_ids TO smsd"""
    )
    script = one.database.server.home / "insert.sql"
    script.write_text(_ROWS.format(rows=rows))
    before = cpu(one.database.server.pid)
    transactions, latency = _pgbench(one, script, seconds, clients)
    stored = transactions * rows
    return {
        "a second": stored / seconds,
        "mean ms": latency,
        "Postgres us": (cpu(one.database.server.pid) - before) * 1e6 / stored,
    }


def _pgbench(one: Running, script: Path, seconds: float, clients: int) -> tuple[int, float]:
    where = one.database.place
    said = one.database.server.program(
        "pgbench",
        *("-h", where["host"], "-p", where["port"], "-U", where["user"]),
        *("-n", "-M", "prepared", "-c", str(clients), "-T", str(max(1, round(seconds)))),
        *("-f", str(script), where["dbname"]),
    )
    done = re.search(r"transactions actually processed: (\d+)", said)
    took = re.search(r"latency average = ([\d.]+) ms", said)
    assert done is not None, said
    assert took is not None, said
    return int(done[1]), float(took[1])
