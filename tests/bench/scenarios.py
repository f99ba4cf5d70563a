"""What is measured on both sides: each scenario takes a side that runs and gives its figures.

A scenario is a function of a fresh `Running` and of what was asked for; the rounds and the turns
are `bench.__main__`'s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from bench.figures import Row
from bench.load import load
from bench.phones import phones
from bench.sides import SECRET, Running, org

#: A second's worth of load before what counts: caches, plans, the allocator.
WARM = 1.0
CLIENTS = 64
#: Pollers are fewer: each waits for 20 KiB of JSON.
POLLERS = 16
#: The orgs whose phones are counted by the thousand.
ORGS_OF_PHONES = 50


@dataclass(frozen=True)
class Asked:
    """How long and how much."""

    seconds: float
    phones: int
    rate: float


def webhook(one: Running, asked: Asked, clients: int = CLIENTS, orgs: int = 1) -> Row:
    """One SMS a request, committed before the answer."""
    load(one, "webhook", clients=clients, seconds=WARM, orgs=orgs)
    before, cost = one.stored, one.cost
    found = load(one, "webhook", clients=clients, seconds=asked.seconds, orgs=orgs)
    rows, statements = one.stored - before
    spent = one.cost.a_message(cost, rows)
    if rows < found.requests:
        raise SystemExit(f"{one.side.name} stored {rows} of {found.requests}")
    return {**found.figures, **spent, "rows a statement": rows / statements}


def send(one: Running, asked: Asked) -> Row:
    """One ticket a request to a phone that answers at once; the clock stops when all are sent."""
    with phones(one.port) as flock:
        flock.come()
        found = sends(one, asked)
    if left := one.database.number(_UNSENT):
        raise SystemExit(f"{one.side.name} leaves {left:.0f} tickets unsent")
    return found


def sends(one: Running, asked: Asked) -> Row:
    """The load of `send`, for phones that are there."""
    load(one, "send", clients=CLIENTS, seconds=WARM)
    all_settled(one)
    tickets, results = one.stored, one.settled
    cost, began = one.cost, time.monotonic()
    found = load(one, "send", clients=CLIENTS, seconds=asked.seconds)
    all_settled(one)
    seconds = time.monotonic() - began
    tickets, results = one.stored - tickets, one.settled - results
    return {
        **{**found.figures, "a second": tickets.rows / seconds},
        **one.cost.a_message(cost, tickets.rows),
        "rows a statement": tickets.rows / tickets.statements,
        "results a statement": results.rows / results.statements,
    }


def latency(one: Running, asked: Asked) -> Row:
    """So many sends a second, and when the phone holds each."""
    said = [str(one.port), SECRET, str(asked.rate), str(asked.seconds)]
    ran = subprocess.run(
        [sys.executable, "-m", "bench.pace", *said], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def poll(one: Running, asked: Asked) -> Row:
    """A page of 100 messages from the middle of 20,000."""
    fill(one, 20_000)
    ((middle,),) = one.database.ask("SELECT (min(id) + max(id)) / 2 FROM messages")
    return polls(one, asked, int(middle))


def polls(one: Running, asked: Asked, since: int) -> Row:
    """Pages of the first org from this id on."""
    load(one, "poll", clients=POLLERS, seconds=WARM, since=since)
    cost = one.cost
    found = load(one, "poll", clients=POLLERS, seconds=asked.seconds, since=since)
    return {**found.figures, **one.cost.a_message(cost, found.requests)}


def idle(one: Running, asked: Asked) -> Row:
    """Phones that only are there: what each takes, and how fast they come."""
    with phones(one.port, asked.phones, ORGS_OF_PHONES) as flock:
        before, cost = one.memory, one.cost
        seconds = flock.come()
        spent = one.cost.a_message(cost, asked.phones)
        return {
            "handshakes a second": asked.phones / seconds,
            "KiB a phone": (one.memory - before) / asked.phones,
            **spent,
        }


def fill(one: Running, messages: int) -> None:
    """SMS that have arrived, by the side's own call."""
    for begin in range(0, messages, 1000):
        rows = [
            {"address": "+15551234567", "body": "a text as long as most are", "date": begin + at}
            for at in range(1000)
        ]
        body = {"org_id": org(0), "secret_key": SECRET, "messages": rows}
        one.call("POST", "/webhook", body)


def all_settled(one: Running) -> None:
    """When every ticket has its result."""
    end = time.monotonic() + 60
    while one.settled.rows < one.stored.rows:
        if time.monotonic() > end:
            raise SystemExit(f"{one.side.name} leaves tickets without their results")
        time.sleep(0.02)


_UNSENT = "SELECT count(*) FROM messages WHERE direction = 'out' AND status <> 'sent'"
