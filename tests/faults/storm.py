"""Ten thousand phones come back at once: how long it takes, and who is turned away.

    PYTHONPATH=tests:tests/whole .venv/bin/python -m faults.storm --phones 10000 --orgs 100

A gateway is started; the phones come for the first time; it is killed (-9) and started again; they
all come back. Orgs are written to the database as if they had been claimed, and their addresses
as if they had called before: a claim costs 25 ms of argon2id, a return must cost none. Uses both
cores of a small machine for half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg2
from daemon import Daemon, new_home
from faults.flock import Flock, Owner, Return

from smsd.store.embedded import conninfo_of
from smsd.store.keepsakes import pepper

SECRET = "a-secret-of-the-storm"
ADDRESSES = [f"127.0.1.{last}" for last in (1, 2, 3, 4)]
#: Seconds between two looks at whether the reactor runs.
GLANCE = 0.05
LIMITS = {100: 30.0, 10_000: 60.0}


_MAKE = """
WITH given AS (SELECT unnest(%s::text[]) AS org_id, unnest(%s::bytea[]) AS secret_hmac),
made AS (
    INSERT INTO orgs (org_id, secret_hash, secret_hmac, pepper_id)
    SELECT org_id, 'no hash', secret_hmac, %s FROM given
), counted AS (
    INSERT INTO org_counters (org_id) SELECT org_id FROM given
)
INSERT INTO known_addresses (org_id, address, secret_hmac, right_at)
SELECT org_id, address, secret_hmac, now() FROM given CROSS JOIN unnest(%s::text[]) AS address
"""


def made_orgs(home: Path, count: int) -> list[str]:
    """Orgs whose secret the gateway of this directory knows by its fingerprint, and whose phones
    were there within the hour."""
    seal, names = pepper(home), [f"storm-{at}" for at in range(count)]
    seals = [seal.seal(name, SECRET) for name in names]
    with psycopg2.connect(conninfo_of(home)) as connection, connection.cursor() as cursor:
        cursor.execute(_MAKE, (names, seals, seal.id, ADDRESSES))
    connection.close()
    return names


def owners(phones: int, orgs: Sequence[str]) -> list[Owner]:
    """One for each phone: the orgs in turn, the addresses in turn."""
    return [
        Owner(orgs[at % len(orgs)], SECRET, ADDRESSES[at // len(orgs) % len(ADDRESSES)])
        for at in range(phones)
    ]


def listen_counters() -> dict[str, int]:
    """What the kernel counted of connections that no listener had room for."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    found = dict(zip(names[1:], values[1:], strict=True))
    return {name: int(found[name]) for name in ("ListenOverflows", "ListenDrops")}


def memory_of(pid: int) -> int:
    """Resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line[:6] == "VmRSS:"))


def fly(phones: Sequence[Owner], port: int, pipe: Connection) -> None:
    """The flock's own process: comes, is cut off, comes again."""

    async def life() -> None:
        flock = Flock(phones, port)
        pipe.send(await flock.come())
        pipe.send(await flock.cut_off())
        await asyncio.to_thread(pipe.recv)
        pipe.send(await flock.come())
        await asyncio.to_thread(pipe.recv)

    asyncio.run(life())


def watched(port: int, pipe: Connection) -> tuple[Return, list[float]]:
    """What the flock says in the end, and how long /health took meanwhile."""
    line, waits = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
    while not pipe.poll(GLANCE):
        began = time.monotonic()
        line.request("GET", "/health")
        assert line.getresponse().read() == b'{"status":"ok"}'
        waits.append(time.monotonic() - began)
    line.close()
    return pipe.recv(), sorted(waits) or [0.0]


def told(name: str, came: Return, waits: Sequence[float], phones: int, **more: Any) -> None:
    """A few lines for people."""
    p50, p99 = (waits[int(len(waits) * at)] * 1000 for at in (0.5, 0.99))
    print(f"{name}: {phones} phones on line after {came.seconds:.2f} s")
    print(f"  turned away    {dict(came.trouble) or 'nobody'}")
    print(f"  /health (ms)   p50 {p50:.0f}, p99 {p99:.0f}, max {waits[-1] * 1000:.0f}")
    for what, value in more.items():
        print(f"  {what.replace('_', ' '):14} {value}")


def storm(phones: int, orgs: int) -> bool:
    """Whether the return kept to the limits."""
    with new_home() as home:
        return _storm(home, phones, orgs)


def _storm(home: Path, phones: int, orgs: int) -> bool:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with Daemon(home, "--log-level", "info") as first:
        crowd = owners(phones, made_orgs(home / "data", orgs))
        port, empty, before = first.port, memory_of(first.process.pid), listen_counters()
        flock = multiprocessing.get_context("spawn").Process(target=fly, args=(crowd, port, theirs))
        flock.start()
        came, waits = watched(port, ours)
        grown = (memory_of(first.process.pid) - empty) / phones
        told("the first time", came, waits, phones, **_delta(before), KiB_a_phone=f"{grown:.1f}")
        first.kill()
    killed = time.monotonic()
    ours.recv()
    with Daemon(home, "--log-level", "info", port=port) as second:
        up, before = time.monotonic() - killed, listen_counters()
        ours.send("come")
        came, waits = watched(port, ours)
        delta = _delta(before)
        told("the return", came, waits, phones, **delta, seconds_until_up=f"{up:.2f}")
        ours.send("enough")
        flock.join()
        second.kill()
    limit = max((LIMITS[size] for size in LIMITS if size <= orgs), default=30.0)
    return not came.trouble["refused"] and not any(delta.values()) and came.seconds <= limit


def _delta(before: dict[str, int]) -> dict[str, int]:
    return {name: value - before[name] for name, value in listen_counters().items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--phones", type=int, default=10_000)
    parser.add_argument("--orgs", type=int, default=100)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # and leave nothing behind
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.phones + 500 > most:
        print(f"{given.phones} phones need more open files than this user may have ({most})")
        return 2
    return 0 if storm(given.phones, given.orgs) else 1


if __name__ == "__main__":
    sys.exit(main())
