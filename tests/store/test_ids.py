"""Ids are handed out per org, in commit order: a reader who walks up sees every row once."""

import json
import os
import sys
from pathlib import Path

import pytest
import pytest_twisted
from databases import opened
from seed import append, ask, claimed, new_org, sms, stored, ticket
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from writer import write_all

from smsd.domain.query import MessageQuery
from smsd.store import messages, orgs

WRITER = Path(__file__).with_name("writer.py")
ORGS = ["acme", "beta", "gamma", "delta"]


class Walker:
    """Reads an org with ``since_id`` as an agent does, a small page at a time."""

    def __init__(self, database, org_id):
        self._database, self._org_id = database, org_id
        self.seen = []

    async def step(self):
        """One page; whether there was anything."""
        query = MessageQuery(since_id=self.seen[-1][0] if self.seen else 0, limit=7)
        page = json.loads(await messages.read(self._database, self._org_id, query))["messages"]
        self.seen += [(row["id"], row["body"]) for row in page]
        return bool(page)

    async def walk(self, until):
        while not until():
            await self.step()
        while await self.step():
            pass


@pytest_twisted.ensureDeferred
async def test_a_walker_beside_writers_on_two_processes_misses_no_row(database, conninfo):
    """A plain sequence loses here: an id is taken before its row can be seen."""
    await claimed(database, *ORGS)
    reading = await opened(conninfo, len(ORGS))
    writing = await opened(conninfo, 4)
    ended = []
    walkers = [Walker(reading, org_id) for org_id in ORGS]
    walks = [Deferred.fromCoroutine(w.walk(lambda: bool(ended))) for w in walkers]
    other = getProcessOutputAndValue(
        sys.executable,
        [str(WRITER), conninfo, "other", "4", "40", *ORGS],
        env=os.environ,
        reactor=reactor,
    )
    ours = await write_all(writing, "ours", 4, 60, ORGS)
    out, err, code = await other
    assert (err.decode(), code) == ("", 0)
    ended.append(True)
    for walk in walks:
        await walk
    await reading.close()
    await writing.close()
    rows = 0
    for walker, org_id in zip(walkers, ORGS, strict=True):
        table = await stored(database, org_id=org_id)
        assert walker.seen == table
        assert len({id_ for id_, _ in table}) == len(table)
        assert {body.rstrip("0123456789/") for _, body in table} == {"ours", "other"}
        rows += len(table)
    assert rows == ours + int(out)


@pytest_twisted.ensureDeferred
async def test_an_id_is_not_given_out_before_the_lower_ones_are_committed(database, conninfo):
    await claimed(database, "acme", "beta")
    second = await opened(conninfo, 1)

    async def first(tx):
        assert await append(tx, sms()) == [1]
        assert await append(second, sms("beta")) == [1]  # another org does not wait
        waiting = Deferred.fromCoroutine(append(second, sms(body="later")))
        while not (await ask(database, "SELECT count(*) FROM pg_locks WHERE NOT granted"))[0][0]:
            assert not waiting.called
        return [waiting]

    (waiting,) = await database.transaction("first", first)
    assert await waiting == [2]
    await second.close()


@pytest_twisted.ensureDeferred
async def test_what_is_rolled_back_leaves_no_row_and_its_id_may_be_given_again(database):
    await claimed(database, "acme")

    async def body(tx):
        await append(tx, sms())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.transaction("broken", body)
    assert await append(database, sms()) == [1]
    assert len(await stored(database)) == 1


@pytest_twisted.ensureDeferred
async def test_ids_follow_the_order_of_the_rows_in_each_org(database):
    await claimed(database, "acme", "beta")
    rows = [sms("beta"), ticket(), sms("beta"), sms(), ticket("beta"), sms()]
    assert await append(database, *rows) == [1, 1, 2, 2, 3, 3]
    assert await append(database, *rows) == [4, 4, 5, 5, 6, 6]


@pytest_twisted.ensureDeferred
async def test_an_org_that_is_claimed_again_goes_on_counting_on_every_node(database, conninfo):
    """A reader of the old org must not take rows of the new one for what it has seen."""
    second = await opened(conninfo, 1)
    await claimed(database, "acme")
    assert await append(database, sms(), sms()) == [1, 2]
    assert await append(second, sms()) == [3]
    await ask(database, "DELETE FROM messages; DELETE FROM orgs")
    await claimed(second, "acme")
    assert await append(database, sms()) == [4]
    assert await append(second, sms()) == [5]
    await second.close()


@pytest_twisted.ensureDeferred
async def test_a_message_of_a_first_use_is_in_the_commit_of_its_org(database):
    async def claim(tx):
        assert await orgs.create(tx, new_org("acme"))
        assert await stored(database) == []
        return await append(tx, sms(), sms())

    assert await database.transaction("claim", claim) == [1, 2]
    assert await stored(database, "id") == [(1,), (2,)]


@pytest_twisted.ensureDeferred
async def test_a_great_batch_of_many_orgs_numbers_each_on_its_own(database):
    org_ids = [f"org-{n}" for n in range(60)]
    await claimed(database, *org_ids)
    rows = [sms(org_ids[n % 60]) for n in range(3000)]
    assert sorted(await append(database, *rows)) == sorted([*range(1, 51)] * 60)
    counters = await ask(database, "SELECT DISTINCT last_id FROM org_counters")
    assert counters == [(50,)]
