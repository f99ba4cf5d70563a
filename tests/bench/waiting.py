"""Readers who wait for a message (``GET /messages?wait=``): what they cost while nothing comes, and
how long the last of them waits when something does."""

from __future__ import annotations

import time

from bench.figures import Row
from bench.phones import Driven
from bench.scenarios import ORGS_OF_PHONES, Asked
from bench.sides import SECRET, Running, org

#: What reads messages, and what looks where the orgs stand.
READS, LOOKS = "%WITH page AS (%FROM messages%", "%c.events_from%FROM org_counters AS c%ANY%"
#: All are at rest when nothing was read for so long. Seconds.
QUIET = 2.0


def waiting(one: Running, asked: Asked) -> Row:
    """All ask something else, so that no two of them can share what is read."""
    count = asked.phones
    with Driven("bench.readers", one.port, count, ORGS_OF_PHONES) as readers:
        before = one.memory
        readers.do("come")
        _all_wait(one, count)
        found = {"KiB a reader": (one.memory - before) / count, **_at_rest(one, asked.seconds)}
        began = time.monotonic()
        for at in range(ORGS_OF_PHONES):
            one.call("POST", "/webhook", _sms(at))
        if readers.do("hear")["messages"] != count:
            raise SystemExit("not every reader has heard")
        return {**found, "seconds until all have heard": time.monotonic() - began}


def _all_wait(one: Running, count: int) -> None:
    """When each has read that there is nothing, and nobody reads any more."""
    end, reads, since = time.monotonic() + 60, 0, time.monotonic()
    while reads < count or time.monotonic() - since < QUIET:
        if time.monotonic() > end:
            raise SystemExit("the readers do not come to rest")
        time.sleep(0.05)
        before, reads = reads, one.database.written(READS).statements
        since = time.monotonic() if reads > before else since


def _at_rest(one: Running, seconds: float) -> Row:
    reads, looks = one.database.written(READS), one.database.written(LOOKS)
    cost, began = one.cost, time.monotonic()
    time.sleep(seconds)
    passed, now = time.monotonic() - began, one.cost
    return {
        "reads a second": (one.database.written(READS) - reads).statements / passed,
        "looks a second": (one.database.written(LOOKS) - looks).statements / passed,
        "daemon CPU %": 100 * (now.daemon - cost.daemon) / passed,
        "Postgres CPU %": 100 * (now.postgres - cost.postgres) / passed,
    }


def _sms(at: int) -> dict[str, object]:
    message = {"address": "+15551234567", "body": "a text as long as most are"}
    return {"org_id": org(at), "secret_key": SECRET, "messages": [message]}
