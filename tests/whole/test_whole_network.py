"""Networks in trouble: roads between phones, agents, the gateway and its database, all spoilt."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from canaries import canaries
from daemon import PATIENCE
from faults.proxy import ChaosProxy
from roads import Site, all_sent, by, gets, many, new_site, next_ticket
from visitors import Org, Phone, calling, until
from websockets.exceptions import ConnectionClosed, InvalidMessage

pytestmark = pytest.mark.whole

#: Seconds; short enough to be waited for, long enough to be seen.
GRACE = 0.4


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site("--resume-grace", str(GRACE), "--max-attempts", "100") as site:
        yield site


@pytest.fixture
def org(site: Site) -> Iterator[Org]:
    org = Org(site.daemon.url)
    with org.agent:
        yield org.claim()


@pytest.fixture
def road(site: Site) -> Iterator[ChaosProxy]:
    """A road to the gateway."""
    with ChaosProxy(("127.0.0.1", site.daemon.port), seed=1) as road:
        yield road


@pytest.fixture
def database_road(site: Site) -> Iterator[ChaosProxy]:
    """The road from the gateway to its Postgres."""
    yield site.road
    site.road.heal()


# -- half-open connections --


@pytest.mark.parametrize("ledger", ["true", ""], ids=["ledger", "plain"])
def test_a_phone_on_another_road_takes_over_its_half_open_session(
    site: Site, org: Org, road: ChaosProxy, ledger: str
) -> None:
    identity = {"device_id": "d-1", "ledger": ledger}
    idle = site.open_files()
    with calling(by(road, org).socket_url(**identity)) as old:
        assert old.hear()["type"] == "connected"
        gets(old, first := org.ticket())
        assert org.settled(first)["status"] == "sent"
        road.half_open()
        lost = org.ticket()
        assert org.row(lost)["status"] == "sending"
        began = time.monotonic()
        with org.phone(**identity) as new:
            gets(new, lost)
            if not ledger:  # and not a moment before
                assert time.monotonic() - began >= GRACE
            until(lambda: site.sessions(org) == 1)
            assert f"a phone of {org.id} is gone: replaced" in site.daemon.log.read_text()
            road.heal()  # the old socket dies at last, and its clean-up is late
            until(lambda: site.open_files() == idle + 1)
            assert org.sims()["online_devices"] == site.sessions(org) == 1
            gets(new, org.ticket())
            all_sent(site, org, 3)
            assert org.row(lost)["attempts"] == 2
    until(lambda: site.sessions(org) == 0)


def test_the_replaced_session_is_told_4409_if_its_road_comes_back(
    org: Org, road: ChaosProxy
) -> None:
    with by(road, org).phone(device_id="d-1") as old:
        road.stall()
        with org.phone(device_id="d-1") as new:
            road.heal()
            assert old.end()[0] == 4409
            gets(new, org.ticket())


# -- slow and narrow roads --


def test_frames_may_crumble_on_their_way(site: Site, org: Org, road: ChaosProxy) -> None:
    road.slices(5, pause=0.0005)
    with by(road, org).phone({"slot": 0, "number": canaries.number()}, device_id="d") as phone:
        assert phone.receive(canaries.text(), id="a")["type"] == "inbound_ack"
        gets(phone, org.ticket(), org.ticket())
        all_sent(site, org, 2)


def test_a_road_of_32_kbit_carries_everything_in_order(
    site: Site, org: Org, road: ChaosProxy
) -> None:
    with by(road, org).phone() as phone:
        road.bandwidth(4000)
        gets(phone, *many(org, 30), org.ticket(body="x" * 1600))
        all_sent(site, org, 31)


def test_a_far_phone_never_has_more_than_its_limits_allow(
    site: Site, org: Org, road: ChaosProxy
) -> None:
    with by(road, org).phone() as phone:
        road.latency(250, jitter=50)
        tickets = many(org, 160)
        assert site.tickets(org, "sending") <= 64
        most = 0
        for at, ticket in enumerate(tickets):
            gets(phone, ticket)
            if at % 10 == 0:
                most = max(most, site.tickets(org, "sending"))
        assert 0 < most <= 100
        all_sent(site, org, 160)


def test_a_phone_that_is_not_heard_has_64_tickets_and_no_more(
    site: Site, org: Org, road: ChaosProxy
) -> None:
    with by(road, org).phone() as phone:
        road.stall(way="up")
        tickets = many(org, 150)
        heard = [phone.hear()["id"] for _ in range(64)]
        assert (site.tickets(org, "sending"), site.tickets(org, "queued")) == (64, 86)
        road.heal()  # with its receipts come places, up to those without a result
        heard += [phone.hear()["id"] for _ in range(36)]
        assert heard == tickets[:100]
        assert (site.tickets(org, "sending"), site.tickets(org, "queued")) == (100, 50)
        for ticket in heard:
            phone.confirm(ticket)
        gets(phone, *tickets[100:])
        all_sent(site, org, 150)


# -- torn connections --


def test_a_frame_that_was_torn_in_its_middle_never_came(
    site: Site, org: Org, road: ChaosProxy
) -> None:
    text = canaries.text()
    with by(road, org).phone() as phone:
        road.reset(after=5000, way="up")
        with pytest.raises(ConnectionClosed):
            phone.receive(text + "x" * 20_000, id="a-1", date=1)
    until(lambda: site.sessions(org) == 0)
    assert org.read() == []
    road.heal()
    with by(road, org).phone() as phone:
        assert phone.receive(text, id="a-1", date=1)["stored"] == 1
    assert [row["body"] for row in org.read()] == [text]


@pytest.mark.parametrize("ledger", ["true", ""], ids=["ledger", "plain"])
def test_a_ticket_that_was_torn_in_its_middle_comes_again(
    site: Site, org: Org, road: ChaosProxy, ledger: str
) -> None:
    here = by(road, org)
    with here.phone(device_id="d", ledger=ledger) as phone:
        road.reset(after=30, way="down")
        ticket = org.ticket()
        with pytest.raises(ConnectionClosed):
            phone.hear()
    until(lambda: site.sessions(org) == 0)
    road.heal()
    with here.phone(device_id="d", ledger=ledger) as phone:
        gets(phone, ticket)
        assert org.settled(ticket)["attempts"] == 2


@pytest.mark.parametrize(("way", "after"), [("up", 1), ("up", 90), ("down", 1), ("down", 90)])
def test_a_handshake_that_is_torn_leaves_nothing_behind(
    site: Site, org: Org, road: ChaosProxy, way: Any, after: int
) -> None:
    idle = site.open_files()
    road.reset(after=after, way=way)
    with pytest.raises((ConnectionError, ConnectionClosed, InvalidMessage, EOFError)):
        opened(by(road, org))
    until(lambda: site.sessions(org) == 0 and site.open_files() == idle)
    road.heal()
    with by(road, org).phone() as phone:
        gets(phone, org.ticket())


def opened(org: Org) -> None:
    with calling(org.socket_url()) as phone:
        phone.hear()


@pytest.mark.parametrize("when", ["in mid-request", "before the commit", "in mid-answer"])
def test_an_agent_that_is_cut_off_has_sent_all_or_nothing_and_never_twice(
    site: Site, org: Org, road: ChaosProxy, database_road: ChaosProxy, when: str
) -> None:
    there = by(road, org)
    with org.phone(device_id="d") as phone, there.agent:
        if when == "before the commit":
            database_road.stall()
            hung_up(road, org)
            database_road.heal()
        else:
            way: Any = "up" if when == "in mid-request" else "down"
            road.reset(after=400 if way == "up" else 20, way=way)
            with pytest.raises(requests.ConnectionError):
                many(there, 3, body="x" * 300)
        org.ticket()
        heard = sends_all(site, org, phone)
        expected = {"in mid-request": [0], "before the commit": [0, 3], "in mid-answer": [3]}
        assert len(heard) - 1 in expected[when]
        assert sorted(heard) == list(range(1, len(heard) + 1))


def sends_all(site: Site, org: Org, phone: Phone) -> list[int]:
    """The ids as they came, once all that is stored is sent. What went out on a road that was
    stalled may be stored after what was sent later."""
    heard: list[int] = []
    while site.count("messages WHERE org_id = %s", org.id) > len(heard):
        heard.append(phone.hear()["id"])
        phone.confirm(heard[-1])
        until(lambda: site.tickets(org, "sent") == len(heard))
    return heard


def hung_up(road: ChaosProxy, org: Org) -> None:
    """Three SMS in a request that the gateway has read whole when its agent resets."""
    drafts = [{"to": canaries.number(), "body": "hi"}] * 3
    body = json.dumps({"secret_key": org.secret, "messages": drafts}).encode()
    head = f"POST /send/{org.id} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", road.port), PATIENCE) as line:
        line.sendall(head.encode() + body)
        until(lambda: road.passed("up") == len(head) + len(body))
        road.reset()
        with pytest.raises(ConnectionError):
            line.recv(1)


# -- the road to the database --


def test_a_database_that_falls_silent_is_503_and_comes_back_by_itself(
    database_road: ChaosProxy, org: Org
) -> None:
    with org.phone() as phone:
        database_road.black_hole()
        answer = org.post(to=canaries.number(), body=canaries.text())
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        phone.say(type="inbound", message=org.sms(id="a-1"))
        phone.say(type="ping")
        assert phone.hear() == {"type": "pong"}  # it stays, and nothing is said of the SMS
        assert Org(org.url).agent.get("/health").status_code == 200
        database_road.heal()
        assert phone.hear() == {"type": "inbound_ack", "stored": 1, "id": "a-1"}
        until(lambda: org.post(to=canaries.number(), body="hi").status_code == 200)
        frame = phone.hear()
        gets_nothing_twice(phone, frame["id"])
        assert [row["direction"] for row in org.read(limit=1000)].count("in") == 1


def gets_nothing_twice(phone: Phone, first: int) -> None:
    ids = [first, *(frame["id"] for frame in phone.hear_all_before_pong())]
    assert len(ids) == len(set(ids))


# -- a phone that does not read --


def test_a_phone_that_stops_reading_costs_nobody_anything(
    site: Site, org: Org, road: ChaosProxy
) -> None:
    slow, quick = canaries.number(), canaries.number()
    here = by(road, org)
    with (
        calling(here.socket_url(device_id="slow", ledger="1")) as stuck,
        org.phone({"slot": 0, "number": quick}, device_id="quick") as other,
    ):
        assert stuck.hear()["type"] == "connected"
        stuck.report({"slot": 0, "number": slow})
        before = site.memory()
        road.stall(way="down")
        waiting = [id_ for _ in range(5) for id_ in many(org, 100, body="я" * 1600, sim=slow)]
        gets(other, *(org.ticket(sim=quick) for _ in range(5)))
        pushed = [row["id"] for row in org.read(status="sending", sim=slow, limit=1000)]
        assert 0 < len(pushed) <= 64
        assert site.memory() - before < 64 << 20
        with org.phone({"slot": 0, "number": slow}, device_id="slow", ledger="1") as back:
            heard = []
            while len(heard) < len(waiting):
                frame = next_ticket(back)
                heard.append(frame["id"])
                back.confirm(frame["id"], ref=frame["ref"])
            assert sorted(heard) == waiting
            new = [id_ for id_ in heard if id_ not in pushed]
            assert new == sorted(new)
            all_sent(site, org, 505)
            back.hear_all_before_pong()
        road.reset()  # else the goodbye of the one that does not read would be waited for


# -- phones that hardly stay, counted in frames and not in seconds --


@dataclass
class Ledger:
    """What a phone writes down before it sends."""

    sent: set[str] = field(default_factory=set)
    radio: Counter[int] = field(default_factory=Counter)
    #: Tickets that came for the first time, as they came.
    fresh: list[int] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def take(self, frame: dict[str, Any]) -> bool:
        """Send it, unless that was done; whether it was done before."""
        with self.lock:
            if frame["attempt"] == 1:
                self.fresh.append(frame["id"])
            if frame["ref"] in self.sent:
                return True
            self.sent.add(frame["ref"])
            self.radio[frame["id"]] += 1
            return False


def answer_all(phone: Phone, ledger: Ledger) -> None:
    """Do what has come up to now."""
    for frame in phone.hear_all_before_pong():
        if frame["type"] == "send_sms":
            ledger.take(frame)
            phone.confirm(frame["id"], ref=frame["ref"])


def test_a_thousand_tickets_reach_a_ledger_phone_that_keeps_breaking_off(
    site: Site, org: Org, road: ChaosProxy
) -> None:
    waiting, ledger, chance = many(org, 1000), Ledger(), random.Random(6)
    here = by(road, org)

    def break_off(phone: Phone) -> None:
        for _ in range(chance.randint(60, 150)):
            frame = next_ticket(phone)
            if ledger.take(frame) or chance.random() < 0.7:
                phone.confirm(frame["id"], ref=frame["ref"])
            if len(ledger.sent) == len(waiting):
                break
        road.reset()  # in the middle of whatever is under way

    while len(ledger.sent) < len(waiting):
        with suppress(ConnectionClosed), calling(here.socket_url(device_id="d", ledger="1")) as on:
            break_off(on)
        until(lambda: site.sessions(org) == 0)
    with here.phone(device_id="d", ledger="1") as phone:
        until(lambda: answer_all(phone, ledger) or site.tickets(org, "sent") == len(waiting))
        phone.hear_all_before_pong()
    assert ledger.fresh == sorted(set(ledger.fresh))
    assert ledger.radio == Counter(waiting)
    all_sent(site, org, len(waiting))


#: How many tickets a phone on line may be silent about (contract section 3, handing over).
UNANSWERED = 100


class Brief:
    """A plain phone that answers some of what it was given before, and reads what comes."""

    def __init__(self, site: Site, org: Org) -> None:
        self._site, self._org = site, org
        self.radio: list[int] = []
        self.silent: list[int] = []

    def visit(self, chance: random.Random, answers: float) -> None:
        with self._org.phone(device_id="d") as phone:
            told = [ticket for ticket in self.silent if chance.random() < answers]
            for ticket in told:
                phone.confirm(ticket)
            self.silent = [ticket for ticket in self.silent if ticket not in told]
            full = len(self.radio) + UNANSWERED
            until(lambda: self._has_read_all(phone, full))

    def _has_read_all(self, phone: Phone, full: int) -> bool:
        """Whether no more comes until it answers: then all that it read has been receipted. It
        does not leave before its places are taken, for what it never reads keeps for longer than a
        test waits."""
        new = [f["id"] for f in phone.hear_all_before_pong() if f["type"] == "send_sms"]
        self.radio += new
        self.silent += new
        queued, sending = (self._site.tickets(self._org, of) for of in ("queued", "sending"))
        return sending == len(self.silent) and (len(self.radio) == full or not queued)


def test_a_plain_phone_that_hardly_stays_sends_nothing_twice(site: Site, org: Org) -> None:
    waiting, phone, chance = many(org, 400), Brief(site, org), random.Random(6)
    while site.tickets(org, "queued"):
        phone.visit(chance, answers=0.5)
        until(lambda: site.sessions(org) == 0)
    phone.visit(chance, answers=1)
    assert phone.radio == waiting
    all_sent(site, org, len(waiting))


# -- one phone, twice --


class Clone(threading.Thread):
    """One of two sockets of one phone; it returns as soon as it is sent away."""

    def __init__(self, org: Org, number: str, ledger: Ledger, ends: list[int]) -> None:
        super().__init__()
        self._org, self._number, self._ledger, self._ends = org, number, ledger, ends

    def run(self) -> None:
        while len(self._ends) < 40:
            with calling(self._org.socket_url(device_id="clone", ledger="1")) as phone:
                with suppress(ConnectionClosed):
                    self._live(phone)
                self._ends.append(phone.socket.close_code or 0)

    def _live(self, phone: Phone) -> None:
        phone.say(type="sims", sims=[{"slot": 0, "number": self._number}])
        while True:
            frame = phone.hear()
            if frame["type"] == "send_sms":
                self._ledger.take(frame)
                phone.confirm(frame["id"], ref=frame["ref"])


def test_clones_of_one_device_flap_and_harm_nobody(site: Site, org: Org, road: ChaosProxy) -> None:
    """They keep one ledger, as one phone does, so it sends once. Where each has a ledger of its
    own, each sends once what it is given, and no more is promised."""
    ledger, ends = Ledger(), list[int]()
    one, two = canaries.number(), canaries.number()
    with org.phone({"slot": 0, "number": one}, device_id="other") as other:
        clones = [Clone(by(road, org), two, ledger, ends) for _ in range(2)]
        for clone in clones:
            clone.start()
        tickets = []
        while len(ends) < 40:
            gets(other, org.ticket(sim=one))
            tickets.append(org.ticket(sim=two))
        until(lambda: site.sessions(org) == 2)  # the other phone, and one of the clones
        road.reset()
        for clone in clones:
            clone.join()
        assert other.hear_all_before_pong() == []
    until(lambda: site.sessions(org) == 0)
    assert Counter(ends)[4409] == 5
    assert set(ends) <= {4409, 4503, 1006}
    with org.phone({"slot": 0, "number": two}, device_id="clone", ledger="1") as phone:
        until(lambda: answer_all(phone, ledger) or site.tickets(org, "sent") == 2 * len(tickets))
    assert ledger.radio == Counter(tickets)
    all_sent(site, org, 2 * len(tickets))
