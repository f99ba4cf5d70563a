"""Look-ups take threads, of which there must be enough."""

from __future__ import annotations

from twisted.internet.base import ReactorBase
from twisted.python.threadpool import ThreadPool

from smsd.outward.names import make_room


class Threaded:
    """As much of the reactor as has threads, in Twisted's own words."""

    def __init__(self) -> None:
        self.threadpool = ThreadPool(0, 10)

    def getThreadPool(self) -> ThreadPool:
        return self.threadpool

    suggestThreadPoolSize = ReactorBase.suggestThreadPoolSize


def test_room_is_made_beside_what_there_is() -> None:
    reactor = Threaded()
    make_room(reactor, 16)
    make_room(reactor, 64)
    assert reactor.threadpool.max == 90
