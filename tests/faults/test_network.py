"""Every nemesis of the network makes its own trouble, the same for the same seed, and heals."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from faults.network import TROUBLES, nemeses
from faults.proxy import ChaosProxy

DEADLINE = 20.0


class Notes:
    """A road that notes what is done to it."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.notes: list[Any] = []

    def __getattr__(self, what: str) -> Any:
        return lambda *args, **more: self.notes.append((self.name, what, args, more))


def schedule(seed: int) -> list[Any]:
    """What all nemeses do to five roads, with this seed."""
    roads: Any = [Notes(n) for n in range(5)]
    rng = random.Random(seed)
    for nemesis in nemeses(roads):
        nemesis.begin(rng)
    return [road.notes for road in roads]


def test_a_seed_says_what_happens() -> None:
    assert schedule(7) == schedule(7)
    assert schedule(7) != schedule(8)


@pytest.mark.parametrize("seed", range(20))
def test_every_nemesis_spoils_at_least_one_road_and_heals_all(seed: int) -> None:
    roads: Any = [Notes(n) for n in range(3)]
    for nemesis in nemeses(roads):
        nemesis.begin(random.Random(seed))
        assert any(road.notes for road in roads), nemesis.name
        for road in roads:
            road.notes.clear()
        nemesis.heal()
        assert [[what for _, what, _, _ in road.notes] for road in roads] == [["heal"]] * 3


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says everything again, for as long as anybody calls."""

    listener = socket.create_server(("127.0.0.1", 0))

    def serve(end: socket.socket) -> None:
        with end:
            try:
                while said := end.recv(65536):
                    end.sendall(said)
            except OSError:
                pass

    def accept() -> None:
        with ExitStack() as all_:
            while True:
                try:
                    end, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=serve, args=(end,))
                all_.callback(thread.join)
                thread.start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()


@pytest.mark.parametrize("name", TROUBLES)
def test_after_any_trouble_a_new_connection_is_good(name: str, echo: tuple[str, int]) -> None:
    with ChaosProxy(echo) as road:
        (nemesis,) = [one for one in nemeses([road]) if one.name == name]
        with socket.create_connection(("127.0.0.1", road.port), DEADLINE) as before:
            before.sendall(b"before")
            nemesis.begin(random.Random(1))
            nemesis.heal()
        with socket.create_connection(("127.0.0.1", road.port), DEADLINE) as after:
            after.sendall(b"after")
            heard = b""
            while len(heard) < 5:
                more = after.recv(65536)
                assert more
                heard += more
            assert heard == b"after"
