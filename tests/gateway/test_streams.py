"""An event stream hears all that happens in its org, once and in order, until it must end."""

import pytest
import pytest_twisted
from databases import opened
from nodes import ORG, Node, RecordingPhone, made_org, soon, sql
from test_hearing import until
from twisted.internet.defer import Deferred

from smsd.domain.errors import EventsGone, Invalid, ShuttingDown, Unauthorised, Unavailable
from smsd.domain.happenings import EventQuery
from smsd.domain.keys import Key
from smsd.domain.records import Inbound, Sim
from smsd.gateway.doorman import Caller
from smsd.gateway.streams import BEAT, LAST_WORDS, PAGE, PAUSE, RETRY
from smsd.store import events

ME = Caller(ORG)
SMS = Inbound(address="+1555", body="a private text")
DAY = 86_400


class RecordingReader:
    """Notes what it is given; takes no more than it has places for."""

    def __init__(self, places=1_000_000):
        self.told, self.ended = [], None
        self.places, self.stuck, self.stream = places, False, None

    @property
    def ready(self):
        return self.places > 0

    def write(self, data):
        assert self.ready, "nothing is written to who takes nothing"
        self.places -= 1
        self.told.append(data.decode())

    def take(self, places):
        self.places = places
        self.stream.go_on()

    def is_stuck(self):
        return self.stuck

    def close(self):
        self.ended = self.ended or "closed"

    def cut(self):
        self.ended = "cut"

    @property
    def ids(self):
        return [int(told.split()[0]) for told in self.told]

    @property
    def types(self):
        return [told.split()[1] for told in self.told]


@pytest.fixture
def audience(node):
    """Opens streams; the test's end hangs up all of them."""
    readers = []

    async def sits(reader=None, caller=ME, last=None, at=node, **asked):
        reader = reader or RecordingReader()
        placed = Deferred.fromCoroutine(at.streams.place(caller, EventQuery(**asked), last))
        await until(lambda: placed.called, at.clock)
        place = await placed
        reader.stream = at.streams.open(place, reader)
        readers.append((at, reader))
        return reader

    yield sits
    for at, reader in readers:
        at.streams.gone(reader.stream)
    assert len(node.streams) == node.bell.waiting == 0


async def heard(node, reader, *types):
    """Once it has heard of these, and of nothing else."""

    async def look():
        await until(lambda: node.clock.advance(PAUSE) or len(reader.told) >= len(types), node.clock)

    await look()
    assert reader.types == list(types)


async def asleep(node):
    """Once every stream sleeps at the bell: whatever there was has been read."""

    def sleeping():
        node.clock.advance(PAUSE)
        ears = [ear for ears in node.bell._ears.values() for ear in ears]
        return len(ears) and all(ear._sleeping is not None for ear in ears)

    await until(sleeping, node.clock)


@pytest_twisted.ensureDeferred
async def test_a_stream_hears_of_everything_in_order_from_its_beginning_on(
    database, node, audience
):
    await made_org(database)
    await node.inbox.store(ME, [SMS])
    reader = await audience()
    phone = await node.come(RecordingPhone(), Sim(slot=0, number="+1555"))
    await node.inbox.store(ME, [SMS])
    await node.send(None)
    await node.result(phone.visit, 3)
    await node.send("+1777")
    await soon(node.archive.cancel(ME, 4))
    await node.leave(phone)
    await heard(
        node,
        reader,
        "phone.online",
        "sims.changed",
        "message.received",
        "ticket.sending",
        "ticket.sent",
        "ticket.queued",
        "ticket.cancelled",
        "phone.offline",
    )
    assert reader.ids == sorted(set(reader.ids))


@pytest_twisted.ensureDeferred
async def test_a_reader_that_comes_back_misses_nothing_and_hears_nothing_twice(
    database, node, audience
):
    await made_org(database)
    first = await audience()
    await node.inbox.store(ME, [SMS] * 3)
    await heard(node, first, *["message.received"] * 3)
    node.streams.gone(first.stream)
    await node.inbox.store(ME, [SMS] * (2 * PAGE + 5))
    for asked in ({"since": first.ids[1]}, {"last": str(first.ids[1]), "since": 0}):
        again = await audience(**asked)
        await heard(node, again, *["message.received"] * (2 * PAGE + 6))
        assert again.ids == list(range(first.ids[2], first.ids[2] + 2 * PAGE + 6))


@pytest.mark.parametrize(
    ("asked", "types"),
    [
        ({"types": "ticket.queued,phone.online"}, ["ticket.queued"]),
        ({"direction": "in"}, ["message.received"] * 2),
        ({"address": "+1 555"}, ["message.received"]),
        ({"address": "acme"}, ["message.received"]),
        ({"sim": "+1777"}, ["ticket.queued"]),
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_a_stream_hears_what_it_asked_for(database, node, audience, asked, types):
    await made_org(database)
    reader = await audience(**asked)
    await node.inbox.store(ME, [SMS, Inbound(address="ACME", body="hi")])
    await node.send("+1777")
    await heard(node, reader, *types)
    await asleep(node)
    assert reader.types == types
    (position,) = (await events.bounds(database, [ORG])).values()
    assert reader.stream.cursor == position.last


@pytest_twisted.ensureDeferred
async def test_streams_of_other_orgs_hear_nothing(database, node, audience):
    await made_org(database)
    await made_org(database, "other-org")
    mine, others = await audience(), await audience(caller=Caller("other-org"))
    await node.inbox.store(ME, [SMS])
    await heard(node, mine, "message.received")
    await asleep(node)
    assert others.told == []


@pytest_twisted.ensureDeferred
async def test_what_another_node_commits_is_heard_at_the_next_look(
    database, conninfo, clock, hashing, node, audience
):
    pool = await opened(conninfo)
    other = Node(pool, clock, name="node-2", hashing=hashing)
    try:
        await made_org(database)
        reader = await audience()
        await asleep(node)
        await other.inbox.store(ME, [SMS])
        await node.bell.look()
        await heard(node, reader, "message.received")
        elsewhere = await audience(at=other, since=reader.ids[0])
        await node.inbox.store(ME, [SMS])
        await other.bell.look()
        await heard(other, elsewhere, "message.received")
        other.streams.gone(elsewhere.stream)
    finally:
        await pool.close()


@pytest_twisted.ensureDeferred
async def test_many_streams_of_one_org_share_their_readings(database, node, audience):
    await made_org(database)
    readers = [await audience() for _ in range(60)]
    await asleep(node)
    before = node.database.run_names["read_events"]
    await node.inbox.store(ME, [SMS])
    for reader in readers:
        await heard(node, reader, "message.received")
    await asleep(node)
    assert node.database.run_names["read_events"] - before <= 6


# -- cursors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["since", "Last-Event-ID"])
@pytest_twisted.ensureDeferred
async def test_a_cursor_that_was_never_given_out_is_told_so(database, node, named):
    await made_org(database)
    newest = (await events.listen(database, ORG, DAY)).last
    query, last = EventQuery(since=newest + 1), None
    if named != "since":
        query, last = EventQuery(), str(newest + 1)
    with pytest.raises(Invalid) as refused:
        await soon(node.streams.place(ME, query, last))
    (fault,) = refused.value.errors
    assert (fault.loc, fault.msg) == (
        [named],
        f"must be at most {newest}, the id of the newest event",
    )


@pytest_twisted.ensureDeferred
async def test_a_cursor_older_than_what_is_kept_is_told_the_oldest(database, node, audience):
    await made_org(database)
    reader = await audience()
    await node.inbox.store(ME, [SMS] * 3)
    await heard(node, reader, *["message.received"] * 3)
    await sql(database, "UPDATE events SET at = now() - interval '8 days' WHERE id < 4")
    await node.upkeep.delete_old_events()
    with pytest.raises(EventsGone) as refused:
        await soon(node.streams.place(ME, EventQuery(since=reader.ids[0])))
    oldest = refused.value.oldest
    again = await audience(since=oldest)
    await heard(node, again, "message.received")
    assert again.ids == reader.ids[2:]


@pytest_twisted.ensureDeferred
async def test_a_stream_whose_next_events_were_deleted_ends(database, node, audience):
    await made_org(database)
    reader = await audience(RecordingReader(places=1))
    await node.inbox.store(ME, [SMS] * 5)
    await heard(node, reader, "message.received")
    await sql(database, "UPDATE events SET at = now() - interval '8 days'")
    await node.upkeep.delete_old_events()
    reader.take(5)
    await until(lambda: reader.ended, node.clock)
    assert (reader.ended, len(reader.told)) == ("closed", 1)


@pytest_twisted.ensureDeferred
async def test_nobody_hears_of_an_org_that_is_no_more(database, node):
    with pytest.raises(Unauthorised):
        await soon(node.streams.place(ME, EventQuery()))


# -- readers ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_a_reader_does_not_take_is_read_again_when_it_does(database, node, audience):
    await made_org(database)
    reader = await audience(RecordingReader(places=2))
    await node.inbox.store(ME, [SMS] * 5)
    await heard(node, reader, *["message.received"] * 2)
    await node.inbox.store(ME, [SMS])
    before = node.database.run_names["read_events"]
    await node.streams.beat()
    assert (len(reader.told), before) == (2, node.database.run_names["read_events"])
    reader.take(100)
    await heard(node, reader, *["message.received"] * 6)
    assert reader.ids == list(range(reader.ids[0], reader.ids[0] + 6))


@pytest_twisted.ensureDeferred
async def test_every_stream_shows_that_it_lives_in_its_own_second(database, node, audience):
    await made_org(database)
    early = await audience()
    await node.streams.beat()
    late = await audience()
    await asleep(node)
    for _ in range(BEAT - 1):
        assert early.told == late.told == []
        await node.streams.beat()
    assert (early.told, late.told) == ([f"alive at {early.stream.cursor}"], [])
    await node.streams.beat()
    assert len(late.told) == 1
    for _ in range(BEAT):
        await node.streams.beat()
    assert (len(early.told), len(late.told)) == (2, 2)


@pytest_twisted.ensureDeferred
async def test_a_reader_that_is_stuck_is_cut_and_told_of(database, node, audience):
    await made_org(database)
    stuck, reads = await audience(), await audience()
    stuck.stuck = True
    for _ in range(BEAT):
        await node.streams.beat()
    assert (stuck.ended, reads.ended, node.streams.cut) == ("cut", None, 1)


@pytest_twisted.ensureDeferred
async def test_a_reader_that_hangs_up_leaves_nothing_behind(database, node, audience, clock):
    await made_org(database)
    reader = await audience()
    await asleep(node)
    node.streams.gone(reader.stream)
    node.streams.gone(reader.stream)
    assert len(node.streams) == node.bell.waiting == 0
    assert clock.getDelayedCalls() == []
    await node.settled()
    for _ in range(BEAT):
        await node.streams.beat()
    assert reader.told == []


@pytest_twisted.ensureDeferred
async def test_a_stream_outlives_the_absence_of_the_database(database, node, audience):
    await made_org(database)
    reader = await audience()
    await asleep(node)
    node.database.fail("read_events", Unavailable())
    await node.inbox.store(ME, [SMS])
    await until(lambda: node.database.run_names["read_events"] >= 2, node.clock)
    assert (reader.told, reader.ended) == ([], None)
    node.clock.advance(RETRY)
    await heard(node, reader, "message.received")


# -- ends ------------------------------------------------------------------------------------


async def key_is_deleted(node, key):
    await soon(node.keys.delete(ME, key.id))


async def key_expires(node, key):
    await sql(node.database, "UPDATE api_keys SET expires_at = now()")


async def org_is_closed(node, key):
    await sql(node.database, "UPDATE orgs SET pepper_id = 'closed' WHERE org_id = 'myorg'")


async def org_is_deleted(node, key):
    await sql(node.database, "DELETE FROM orgs WHERE org_id = 'myorg'")


@pytest.mark.parametrize(
    ("happen", "all_end"),
    [(key_is_deleted, 0), (key_expires, 0), (org_is_closed, 1), (org_is_deleted, 1)],
    ids=["key deleted", "key expired", "org closed", "org deleted"],
)
@pytest_twisted.ensureDeferred
async def test_streams_end_with_what_let_them_in(database, node, audience, happen, all_end):
    await made_org(database)
    await made_org(database, "other-org")
    hashed, other = "ab" * 32, await audience(caller=Caller("other-org"))
    await sql(
        database,
        "INSERT INTO api_keys (org_id, key_id, hash, name, scopes)"
        " VALUES ('myorg', '3f9a0c51e7d2', %(hash)s, 'one', '{read}')",
        hash=bytes.fromhex(hashed),
    )
    key = (await soon(node.keys.all(ME)))[0]
    by_key = await audience(caller=Caller(ORG, _held(key)))
    by_secret = await audience()
    await node.streams.dismiss()
    assert (by_key.ended, by_secret.ended) == (None, None)
    await happen(node, key)
    await node.streams.dismiss()
    assert by_key.ended == "closed"
    assert by_secret.ended == ("closed" if all_end else None)
    assert other.ended is None


def _held(seen):
    return Key(ORG, seen.id, tuple(seen.scopes))


@pytest_twisted.ensureDeferred
async def test_without_streams_no_chore_asks_the_database_anything(database, node):
    before = node.database.run_names.copy()
    await node.streams.dismiss()
    await node.streams.renew()
    await node.streams.beat()
    assert node.database.run_names == before


@pytest_twisted.ensureDeferred
async def test_an_org_listens_while_a_stream_is_open_and_for_its_time_after_that(
    database, node, audience
):
    left = "SELECT extract(epoch FROM listens_until - now())::float FROM org_counters"
    await made_org(database)
    await audience()
    assert (await sql(database, left))[0][0] >= 7 * DAY - 60
    await sql(database, "UPDATE org_counters SET listens_until = now() + interval '1 day'")
    await node.streams.renew()
    assert (await sql(database, left))[0][0] >= 7 * DAY


@pytest_twisted.ensureDeferred
async def test_at_the_end_streams_are_closed_and_nobody_comes_any_more(
    database, node, audience, clock
):
    await made_org(database)
    polite, rude = await audience(), await audience()
    await asleep(node)
    node.streams.close()
    await node.settled()
    assert (polite.ended, rude.ended) == ("closed", "closed")
    with pytest.raises(ShuttingDown):
        await soon(node.streams.place(ME, EventQuery()))
    drained = Deferred.fromCoroutine(node.streams.drained())
    node.streams.gone(polite.stream)
    assert not drained.called
    clock.advance(LAST_WORDS)
    assert (drained.called, polite.ended, rude.ended) == (True, "closed", "cut")
    node.streams.gone(rude.stream)
    await soon(node.streams.drained())
