"""A stranger guesses an org's secret from many addresses: who is locked out is the stranger."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from canaries import canaries
from daemon import Daemon, new_home
from visitors import Org, Phone, calling

PHONES, GUESSERS = 20, 10


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@contextmanager
def guessing(org: Org) -> Iterator[Counter[int]]:
    """Strangers at ten addresses that guess as fast as they can; what they were answered."""
    stop, answers = threading.Event(), Counter[int]()

    def guess(address: str) -> None:
        bad = Org(org.url, org.id, address=address)
        with bad.agent:
            while not stop.is_set():
                answers[bad.agent.get(f"/messages/{org.id}").status_code] += 1

    guessers = [
        threading.Thread(target=guess, args=(f"127.0.2.{last}",)) for last in range(1, GUESSERS + 1)
    ]
    for guesser in guessers:
        guesser.start()
    try:
        yield answers
    finally:
        stop.set()
        for guesser in guessers:
            guesser.join()


def works(phone: Phone, at: int) -> bool:
    """Whether it still is on line, and what it hands in is stored."""
    told = phone.receive(canaries.text(), id=f"sms-{at}")
    return told == {"type": "inbound_ack", "stored": 1, "id": f"sms-{at}"}


def test_guessers_drop_no_phone_and_refuse_no_known_client_and_stay_locked_out(home: Path) -> None:
    with Daemon(home) as daemon:
        org, port = Org(daemon.url).claim(), daemon.port
        with org.agent, ExitStack() as stack:
            phones = [stack.enter_context(org.phone()) for _ in range(PHONES)]
            with guessing(org) as answers:
                for at in range(3 * PHONES):
                    assert works(phones[at % PHONES], at)
                    assert len(org.read()) == min(at + 1, 100)
                with org.phone() as late:
                    assert late.hear_all_before_pong() == []
            assert answers[401] == 10, "so many guesses were verified, whoever made them"
            assert set(answers) == {401, 429}
            ticket = org.ticket()
            assert phones[0].hear()["id"] == ticket
        daemon.kill()
    with Daemon(home, port=port) as again:
        stranger = Org(again.url, org.id, org.secret, "127.0.2.99")
        with stranger.agent as agent, org.agent:
            answer = agent.get(f"/messages/{org.id}")
            assert answer.status_code == 429, "a restart ends no lock"
            assert int(answer.headers["Retry-After"]) > 200
            assert len(org.read(direction="in")) == 3 * PHONES
            with calling(org.socket_url()) as phone:
                assert phone.hear() == {"type": "connected", "org_id": org.id}
