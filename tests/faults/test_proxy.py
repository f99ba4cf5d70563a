"""The spoilt road does what it says, and a good road is what it is otherwise."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from faults.proxy import ChaosProxy

#: Seconds; what must come is waited for so long.
DEADLINE = 20.0

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield listener


@pytest.fixture
def proxy(listener: socket.socket) -> Iterator[ChaosProxy]:
    with ChaosProxy(listener.getsockname(), seed=1) as proxy:
        yield proxy


@pytest.fixture
def join(listener: socket.socket, proxy: ChaosProxy) -> Iterator[Callable[[], Ends]]:
    """Makes connections; gives both their ends."""
    with ExitStack() as open_:

        def join() -> Ends:
            client = open_.enter_context(
                socket.create_connection(("127.0.0.1", proxy.port), DEADLINE)
            )
            server = open_.enter_context(listener.accept()[0])
            server.settimeout(DEADLINE)
            return client, server

        yield join


@pytest.fixture
def ends(join: Callable[[], Ends]) -> Ends:
    return join()


def until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not look():
        assert time.monotonic() < end
        pause.wait(0.005)


def exactly(end: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size:
        more = end.recv(size - len(heard))
        assert more, heard
        heard += more
    return heard


def fill(end: socket.socket) -> int:
    """How many bytes it takes until no more can be sent."""
    sent = 0
    while sent < 1 << 28:
        try:
            sent += end.send(b"x" * 65536)
        except BlockingIOError:
            return sent
    raise AssertionError("somebody takes everything")


def hear_from(client: socket.socket, port: int) -> bytes:
    """Connect, and hear the first byte; the road may be torn before either."""
    client.connect(("127.0.0.1", port))
    return client.recv(1)


def is_silent(end: socket.socket) -> bool:
    """Nothing has come, no end either."""
    end.setblocking(False)
    try:
        return end.recv(1) is None
    except BlockingIOError:
        return True
    finally:
        end.settimeout(DEADLINE)


@contextmanager
def takes_at_least(seconds: float) -> Iterator[None]:
    """A lower bound holds on the busiest machine."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began >= seconds


# -- a good road --


def test_bytes_go_both_ways_and_are_counted(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    much = bytes(range(256)) * 4000
    threading.Thread(target=client.sendall, args=(much,)).start()
    assert exactly(server, len(much)) == much
    server.sendall(b"thanks")
    assert exactly(client, 6) == b"thanks"
    until(lambda: (proxy.passed("up"), proxy.passed("down")) == (len(much), 6))
    assert (proxy.accepted, proxy.open) == (1, 1)
    assert proxy.swallowed("up") == proxy.swallowed("down") == 0


def test_each_end_may_say_goodbye_for_itself(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert exactly(server, 10) == b"last words"
    assert server.recv(1) == b""
    server.sendall(b"an answer")
    server.close()
    assert exactly(client, 9) == b"an answer"
    assert client.recv(1) == b""
    until(lambda: proxy.open == 0)


def test_a_server_that_is_not_there_is_a_reset(proxy: ChaosProxy, listener: socket.socket) -> None:
    listener.close()
    with socket.socket() as client:
        client.settimeout(DEADLINE)
        with pytest.raises(ConnectionResetError):
            hear_from(client, proxy.port)
    until(lambda: proxy.open == 0)


def test_nothing_is_left_of_it(listener: socket.socket) -> None:
    before = threading.active_count()
    with ChaosProxy(listener.getsockname()) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port), DEADLINE)
        server = listener.accept()[0]
    for end in (client, server):
        with end, pytest.raises(ConnectionResetError):
            end.recv(1)
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), DEADLINE)


# -- torn --


def test_a_reset_reaches_both_ends(proxy: ChaosProxy, ends: Ends, join: Callable[[], Ends]) -> None:
    proxy.reset()
    for end in ends:
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    assert proxy.open == 0
    client, server = join()
    client.sendall(b"x")
    assert exactly(server, 1) == b"x"


def test_a_reset_of_an_end_is_one_of_the_other(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        server.recv(1)


@pytest.mark.parametrize("present", [True, False])
def test_a_connection_is_torn_after_so_many_bytes(
    proxy: ChaosProxy, join: Callable[[], Ends], present: bool
) -> None:
    if present:
        client, server = join()
        client.sendall(b"12345")
        assert exactly(server, 5) == b"12345"
    proxy.reset(after=3, way="up")
    if not present:
        client, server = join()
    server.sendall(b"down is not counted")
    assert exactly(client, 19)
    client.sendall(b"abcdef")
    assert exactly(server, 3) == b"abc"
    for end in (client, server):
        with pytest.raises(ConnectionResetError):
            end.recv(1)


# -- half-open --


def test_the_server_of_a_half_open_connection_sees_nothing(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.half_open()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    server.sendall(b"hello?")
    until(lambda: proxy.swallowed("down") == 6)
    proxy.half_open()  # once more changes nothing
    assert is_silent(server)
    assert proxy.open == 1
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_a_half_open_connection_ends_with_its_server(
    proxy: ChaosProxy, ends: Ends, join: Callable[[], Ends]
) -> None:
    proxy.half_open()
    other, _ = join()
    ends[1].close()
    until(lambda: proxy.open == 1)
    assert is_silent(other)


def test_a_half_open_connection_is_torn_by_healing_though_nothing_was_said(
    proxy: ChaosProxy, ends: Ends
) -> None:
    proxy.half_open()
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        ends[1].recv(1)


# -- silence --


def test_bytes_and_ends_vanish_in_a_black_hole(
    proxy: ChaosProxy, ends: Ends, join: Callable[[], Ends]
) -> None:
    client, server = ends
    proxy.black_hole()
    client.sendall(b"hello")
    server.sendall(b"hello?")
    until(lambda: (proxy.swallowed("up"), proxy.swallowed("down")) == (5, 6))
    client.close()
    server.sendall(b"!")
    until(lambda: proxy.swallowed("down") == 7)
    assert is_silent(server)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    client, server = join()
    client.sendall(b"back")
    assert exactly(server, 4) == b"back"


def test_who_lost_nothing_in_a_black_hole_goes_on(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.black_hole()
    proxy.heal()
    client.sendall(b"x")
    assert exactly(server, 1) == b"x"


def test_a_black_hole_may_swallow_one_way_only(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.black_hole(way="up")
    client.sendall(b"lost")
    server.sendall(b"found")
    assert exactly(client, 5) == b"found"
    until(lambda: proxy.swallowed("up") == 4)
    client.close()
    for _ in range(3):  # a dead client cannot say so
        server.sendall(b"who is there?")
    until(lambda: proxy.passed("down") + proxy.swallowed("down") == 5 + 39)
    assert is_silent(server)


def test_a_stalled_road_fills_up_to_the_sender_and_loses_nothing(
    proxy: ChaosProxy, ends: Ends
) -> None:
    client, server = ends
    proxy.stall()
    server.setblocking(False)
    sent = fill(server)
    assert is_silent(client)
    proxy.heal()
    assert exactly(client, sent) == b"x" * sent


# -- slow --


def test_latency_is_for_every_byte_and_keeps_their_order(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.latency(60, jitter=40)
    with takes_at_least(0.12):
        client.sendall(b"0")
        assert exactly(server, 1) == b"0"
        server.sendall(b"1")
        assert exactly(client, 1) == b"1"
    for n in range(50):
        client.sendall(bytes([n]))
    assert list(exactly(server, 50)) == list(range(50))


def test_latency_of_one_way_leaves_the_other(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.latency(3_600_000, way="up")
    client.sendall(b"in an hour")
    server.sendall(b"now")
    assert exactly(client, 3) == b"now"
    assert is_silent(server)


def test_a_narrow_road_takes_its_time(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.bandwidth(4000)
    with takes_at_least(0.2):
        client.sendall(b"x" * 1000)
        assert exactly(server, 1000) == b"x" * 1000


def test_slices_come_one_by_one(proxy: ChaosProxy, ends: Ends) -> None:
    client, server = ends
    proxy.slices(3, pause=0.01)
    with takes_at_least(0.1):
        client.sendall(b"0123456789" * 3 + b"0123")
        assert exactly(server, 34) == b"0123456789" * 3 + b"0123"


# -- closed --


def test_a_closed_road_refuses_newcomers_and_keeps_who_is_there(
    proxy: ChaosProxy, ends: Ends, join: Callable[[], Ends]
) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), DEADLINE)
    client, server = ends
    client.sendall(b"x")
    assert exactly(server, 1) == b"x"
    proxy.heal()
    client, server = join()
    client.sendall(b"y")
    assert exactly(server, 1) == b"y"
