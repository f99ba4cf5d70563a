"""What systemd is told, at which times."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from smsd.systemd import BEAT, LOOK, Notices, Standing

HOURS = 3600.0


class Heard:
    """What arrives at a socket as systemd has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(str(path))
        self._line.setblocking(False)

    def notices(self) -> list[str]:
        heard = []
        while True:
            try:
                heard.append(self._line.recv(4096).decode())
            except BlockingIOError:
                return heard

    def close(self) -> None:
        self._line.close()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    heard = Heard(tmp_path / "notify")
    yield heard
    heard.close()


def standing(clock: Clock, heard: Heard | None, **environ: str) -> Standing:
    address = {"NOTIFY_SOCKET": str(heard.path)} if heard else {}
    return Standing(clock, Notices({**address, **environ}, pid=7))


async def well() -> str:
    return "all is well"


def test_without_systemd_nothing_is_sent_and_no_timer_runs(clock: Clock) -> None:
    silent = standing(clock, None, WATCHDOG_USEC="1000000")

    silent.begin("Starting")
    silent.ready(well)

    assert clock.getDelayedCalls() == []
    silent.stopping("Stopping")
    silent.end()


def test_a_start_asks_for_time_until_it_is_done(clock: Clock, heard: Heard) -> None:
    told = standing(clock, heard)
    told.begin("Starting")
    clock.advance(BEAT)
    assert heard.notices() == ["STATUS=Starting", *["EXTEND_TIMEOUT_USEC=60000000"] * 2]

    told.ready(well)
    assert heard.notices() == ["READY=1", "STATUS=all is well"]
    clock.pump([BEAT] * 10)
    assert heard.notices() == []
    told.end()


def test_signs_of_life_come_at_half_the_time_until_the_very_end(clock: Clock, heard: Heard) -> None:
    told = standing(clock, heard, WATCHDOG_USEC="30000000", WATCHDOG_PID="7")
    told.begin("Starting")
    told.ready(well)
    heard.notices()

    clock.pump([14.9, 0.2])
    assert heard.notices() == ["WATCHDOG=1"]
    clock.pump([15.0] * 4)
    assert heard.notices() == ["WATCHDOG=1"] * 4

    told.stopping("Stopping")
    clock.advance(15)
    assert heard.notices() == ["STOPPING=1", "STATUS=Stopping", "WATCHDOG=1"]
    told.end()
    clock.advance(HOURS)
    assert heard.notices() == []


@pytest.mark.parametrize(
    "environ",
    [{"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "0"}, {}],
)
def test_no_sign_is_given_that_was_not_asked_for(
    environ: dict[str, str], clock: Clock, heard: Heard
) -> None:
    told = standing(clock, heard, **environ)
    told.begin("Starting")
    told.ready(well)
    clock.pump([BEAT] * 3)

    assert "WATCHDOG=1" not in heard.notices()
    told.end()


def test_how_things_are_is_told_when_it_changes(clock: Clock, heard: Heard) -> None:
    words = ["1 phone"]

    async def look() -> str:
        return words[0]

    told = standing(clock, heard)
    told.ready(look)
    clock.advance(LOOK)
    words[0] = "2 phones"
    clock.pump([LOOK, LOOK])

    assert heard.notices() == ["READY=1", "STATUS=1 phone", "STATUS=2 phones"]
    told.end()


def test_an_answer_that_comes_after_the_stop_began_is_not_told(clock: Clock, heard: Heard) -> None:
    answer: Deferred[str] = Deferred()

    async def look() -> str:
        return await answer

    told = standing(clock, heard)
    told.ready(look)
    told.stopping("Stopping")
    answer.callback("all is well")

    assert heard.notices() == ["READY=1", "STOPPING=1", "STATUS=Stopping"]
    told.end()


def test_a_reload_ends_also_where_it_fails(clock: Clock, heard: Heard) -> None:
    told = standing(clock, heard)

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        told.reloading(fail)

    begun, ended = heard.notices()
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ended == "READY=1"


def test_a_systemd_that_does_not_listen_harms_nobody(clock: Clock, tmp_path: Path) -> None:
    told = Standing(clock, Notices({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, pid=7))

    told.begin("Starting")
    told.ready(well)
    told.end()
