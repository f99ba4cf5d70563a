"""A deadline does not count what the reactor itself was late, and never waits for ever."""

import pytest
import pytest_twisted
from databases import chance
from seed import sql
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smsd.domain.errors import Unavailable
from smsd.store.database import Database
from smsd.store.deadline import Deadline

SLEEP, ONE = sql("SELECT pg_sleep(60)"), sql("SELECT 1")


class Busy:
    """The real reactor by a clock that jumps: what is waited for is read in the next turn."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds

    def callLater(self, seconds, *call):
        """The driver's own calls, which are for the next turn, come by themselves."""
        return (self.clock if seconds else reactor).callLater(seconds, *call)

    def __getattr__(self, name):
        return getattr(reactor, name)

    def was_busy(self, seconds):
        """It comes to its timers so much later, and has read nothing meanwhile."""
        late, self.clock.rightNow = self.clock.rightNow, self.clock.rightNow + seconds
        assert self.clock.rightNow > late
        due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.seconds()]
        for call in due:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


@pytest.fixture
def busy():
    return Busy()


@pytest.fixture
def over(busy):
    """When the deadlines that a test sets were over."""
    return []


def deadline(busy, over, seconds=2.0):
    return Deadline(busy, seconds, lambda: over.append(busy.seconds()))


@pytest_twisted.ensureDeferred
async def test_it_is_over_in_time_where_nobody_is_late(busy, over):
    limit = deadline(busy, over)
    busy.clock.advance(1.9)
    assert not limit.passed
    busy.clock.advance(0.1)
    await turns(2)
    assert limit.passed
    assert over == [2.0]


@pytest.mark.parametrize(("late", "at"), [(0.5, 3.0), (1.5, 5.0), (3600.0, 3604.0)])
def test_what_the_reactor_was_late_is_given_again_but_not_for_ever(busy, over, late, at):
    limit = deadline(busy, over)
    busy.was_busy(2.0 + late)
    assert not limit.passed
    busy.clock.advance(at - busy.seconds() - 0.1)
    assert over == []
    busy.clock.advance(0.1)
    assert over == [pytest.approx(at)]
    assert not busy.clock.getDelayedCalls()


@pytest.mark.parametrize("busy_for", [0.0, 2.5])
def test_it_may_be_cancelled_whether_or_not_it_was_late(busy, over, busy_for):
    limit = deadline(busy, over)
    if busy_for:
        busy.was_busy(busy_for)
    limit.cancel()
    limit.cancel()
    busy.clock.advance(10)
    assert over == []


@pytest_twisted.async_yield_fixture
async def pool(conninfo, busy):
    pool = Database(busy, conninfo, size=1, chance=chance, deadline=2.0)
    await pool.open()
    yield pool
    await pool.close()


async def turns(many):
    for _ in range(many):
        turn = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn


@pytest_twisted.ensureDeferred
async def test_an_answer_that_lies_there_while_the_reactor_is_busy_is_read(pool, busy):
    """Both of who is asked and of who waits for the connection; it is the same as before."""
    pid = sql("SELECT pg_backend_pid()")
    before = await pool.run(pid)
    calls = [Deferred.fromCoroutine(pool.run(pid)) for _ in range(2)]
    busy.was_busy(2.5)
    assert [await call for call in calls] == [before, before]
    assert not busy.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_a_silent_database_is_given_up_in_time_by_a_reactor_that_is_not_busy(pool, busy):
    call = Deferred.fromCoroutine(pool.run(SLEEP))
    await turns(10)
    assert not call.called
    busy.clock.advance(2.0)
    await turns(2)
    assert call.called
    with pytest.raises(Unavailable, match="in time"):
        await call
