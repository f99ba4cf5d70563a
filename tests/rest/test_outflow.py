"""Large answers, and clients that read them slowly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.address import IPv4Address

from smsd.rest.outflow import READ_LEAST, READ_WITHIN
from tests.rest.conftest import Socket, Wire, _parsed

if TYPE_CHECKING:
    from twisted.internet.task import Clock

    from smsd.rest.site import Site
    from tests.rest.conftest import Answer, Browser, Notes

BODY = b'{"org_id":"myorg","count":0,"messages":["' + b"x" * 500_000 + b'"]}'
GET = b"GET /messages/myorg HTTP/1.1\r\nHost: x\r\nX-Secret-Key: my-secret-key-123\r\n"
#: What Twisted's transports take before they ask for a pause.
FULL = 65_536


class Slow(Socket):
    """A connection whose other side takes only what it is told to, as a real one would."""

    dataBuffer = b""
    full = False

    def write(self, data: bytes) -> None:
        self.dataBuffer += data
        if len(self.dataBuffer) > FULL and self.producer is not None:
            self.full = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def take(self, size: int) -> int:
        """The other side reads so many bytes, if there are so many."""
        taken, self.dataBuffer = self.dataBuffer[:size], self.dataBuffer[size:]
        self.io.write(taken)
        if not self.dataBuffer and self.full:
            self.full = False
            if self.producer is not None:
                self.producer.resumeProducing()
        rest = size - len(taken)
        return len(taken) + (self.take(rest) if taken and rest else 0)

    def take_all(self) -> list[Answer]:
        while self.take(FULL):
            pass
        raw, found = self.value(), []
        self.clear()
        while raw:
            one, raw = _parsed(raw, "GET")
            found.append(one)
        return found

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer: Any = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        self.producerState = "producing"


@pytest.fixture
def slow(browser: Browser, notes: Notes, site: Site) -> Wire:
    """A client that reads nothing by itself; what it asks for is half a megabyte."""

    async def messages(*asked: Any) -> bytes:
        notes.read.append(asked)  # type: ignore[arg-type]
        return BODY

    notes.messages = messages  # type: ignore[method-assign]
    wire = Wire(site, Slow(peerAddress=IPv4Address("TCP", browser.peer, 40000)))
    browser.wires.append(wire)
    return wire


def passed(clock: Clock, seconds: float) -> None:
    clock.pump([0.25] * int(seconds * 4))


def test_a_large_answer_leaves_in_pieces_and_arrives_whole(slow: Wire) -> None:
    slow.send(GET + b"\r\n")
    assert len(slow.socket.dataBuffer) <= 2 * FULL
    (answer,) = slow.socket.take_all()
    assert answer.body == BODY


def test_so_does_one_that_is_not_ordinary(slow: Wire) -> None:
    """Headers of its own take another road to the wire."""
    slow.send(GET + b"Connection: close\r\n\r\n")
    assert len(slow.socket.dataBuffer) <= 2 * FULL
    assert not slow.socket.disconnecting
    (answer,) = slow.socket.take_all()
    assert answer.body == BODY
    assert slow.socket.disconnecting


def test_requests_sent_in_one_go_wait_until_the_answer_before_has_left(
    slow: Wire, notes: Notes
) -> None:
    slow.send((GET + b"\r\n") * 50)
    assert len(notes.read) == 1
    answers = slow.socket.take_all()
    assert [answer.body for answer in answers] == [BODY] * 50
    assert len(notes.read) == 50


def test_who_does_not_read_is_not_read_either(slow: Wire) -> None:
    slow.send(GET + b"\r\n")
    assert slow.socket.producerState == "paused"
    slow.socket.take_all()
    assert slow.socket.producerState == "producing"


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_who_takes_nothing_of_an_answer_is_cut(slow: Wire, clock: Clock, more: bytes) -> None:
    slow.send(GET + more + b"\r\n")
    passed(clock, READ_WITHIN - 1)
    assert not slow.socket.disconnected
    passed(clock, 2)
    assert slow.socket.disconnected


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
def test_who_takes_it_slowly_is_given_the_time(slow: Wire, clock: Clock, more: bytes) -> None:
    slow.send(GET + more + b"\r\n")
    a_second = int(1.2 * READ_LEAST / READ_WITHIN)
    for _ in range(len(BODY) // a_second):
        slow.socket.take(a_second)
        clock.advance(1)
    assert not slow.socket.disconnected
    (answer,) = slow.socket.take_all()
    assert answer.body == BODY


def test_who_takes_a_little_now_and_then_is_cut(slow: Wire, clock: Clock) -> None:
    slow.send(GET + b"\r\n")
    for _ in range(12):
        slow.socket.take(READ_LEAST // 12)
        passed(clock, 1)
    assert slow.socket.disconnected


def test_a_connection_that_was_slow_once_is_as_good_as_another(slow: Wire, clock: Clock) -> None:
    slow.send(GET + b"\r\n")
    passed(clock, READ_WITHIN / 2)
    slow.socket.take_all()
    passed(clock, 3 * READ_WITHIN)
    slow.send(GET + b"\r\n")
    (answer,) = slow.socket.take_all()
    assert answer.status == 200


@pytest.mark.parametrize(
    "leave", [lambda wire: wire.socket.lost(), lambda wire: wire.socket.abortConnection()]
)
def test_who_leaves_in_the_middle_of_an_answer_leaves_nothing(
    slow: Wire, clock: Clock, leave: Callable[[Wire], None]
) -> None:
    slow.send(GET + b"\r\n" + GET + b"\r\n")
    leave(slow)
    assert slow.channel.requests == []
    assert clock.getDelayedCalls() == []
