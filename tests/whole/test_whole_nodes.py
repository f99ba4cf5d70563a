"""Two gateways on one database: nobody who talks to them can tell that they are two."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from canaries import canaries
from daemon import PATIENCE, Daemon, bare_environment, deadline, new_home
from streams import stream
from visitors import Agent, Org, calling, new_address, until

pytestmark = pytest.mark.whole

#: A database server for as long as its standard input is open, apart from both gateways.
SERVER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.protocol import Protocol
from smsd import logs
from smsd.store.embedded import PrivatePostgres

class Told(Protocol):
    def connectionLost(self, reason):
        reactor.stop()

async def start():
    print(await server.start(), flush=True)
    StandardIO(Told())

logs.begin(logs.Wanted("debug", "json"))
server = PrivatePostgres(reactor, Path(sys.argv[1]))
stop = lambda: Deferred.fromCoroutine(server.stop())
reactor.addSystemEventTrigger("before", "shutdown", stop)
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
reactor.run()
"""


@pytest.fixture(scope="module")
def external() -> Iterator[str]:
    """How to connect to a Postgres that no gateway runs."""
    with new_home() as home:
        log = home / "log"
        with log.open("wb") as errors:
            server = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(home)],
                env=bare_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        with server, deadline(server, 600):
            assert server.stdout is not None
            yield server.stdout.readline().strip()
            assert server.stdin is not None
            server.stdin.close()
            server.wait()
        assert canaries.found_in(log.read_text()) == []
        assert "Postgres" in log.read_text()


class Nodes(NamedTuple):
    one: Daemon
    two: Daemon


@pytest.fixture(scope="module")
def nodes(external: str) -> Iterator[Nodes]:
    """Two gateways that were started at the same moment on the same empty database."""
    environ = {"SMSD_DATABASE": external, "SMSD_PEPPER": canaries.secret()}
    with new_home() as here, new_home() as there:
        starting = Daemon(here, environ=environ)
        with Daemon(there, environ=environ) as two, starting as one:
            yield Nodes(one, two)


@pytest.fixture
def pair(nodes: Nodes) -> Iterator[tuple[Org, Org]]:
    """One org, as it is seen on both nodes."""
    org = Org(nodes.one.url)
    other = org.on(nodes.two)
    with org.agent, other.agent:
        org.claim()
        yield org, other


def test_a_key_that_is_deleted_on_one_node_opens_nothing_on_the_other(
    pair: tuple[Org, Org],
) -> None:
    one, two = pair
    told = {"name": "x", "scopes": ["read", "phone"]}
    key = one.agent.post(f"/keys/{one.id}", json=told).json()
    borne = {"Authorization": f"Bearer {canaries.note(key['key'])}", "X-Org-Id": one.id}
    there = two.socket_url().partition("?")[0]
    with Agent(two.url) as agent, calling(there, additional_headers=borne) as phone:
        agent.headers.update(borne)
        assert agent.get(f"/messages/{two.id}").status_code == 200
        assert phone.hear()["type"] == "connected"
        assert one.agent.delete(f"/keys/{one.id}/{key['id']}").status_code == 200
        until(lambda: agent.get(f"/messages/{two.id}").status_code == 401)
        assert phone.end()[0] == 4401


def test_who_waits_at_one_node_hears_what_comes_to_the_other(pair: tuple[Org, Org]) -> None:
    one, two = pair
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.read, wait=50)
        message = two.sms()
        assert two.store(message).status_code == 200
        assert [sms["body"] for sms in waiting.result(PATIENCE)] == [message["body"]]


def test_streams_at_both_nodes_hear_the_same_in_the_same_order(pair: tuple[Org, Org]) -> None:
    one, two = pair

    def store(org: Org) -> None:
        for _ in range(40):
            assert org.store(org.sms()).status_code == 200

    with stream(one) as here, stream(two) as there, ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(store, one), pool.submit(store, two)]
        heard = [[at.next() for _ in range(80)] for at in (here, there)]
        for each in writing:
            each.result(PATIENCE)
    assert heard[0] == heard[1]
    assert [event.data["id"] for event in heard[0]] == list(range(1, 81))


def test_a_paced_sim_at_both_nodes_is_given_what_it_may_once(pair: tuple[Org, Org]) -> None:
    one, two = pair
    sim = {"slot": 0, "number": "+15550100001", "pace": {"max_per_hour": 5}}
    with one.phone(sim, device_id="a") as here, two.phone(sim, device_id="b") as there:
        for _ in range(4):
            one.send(sim=sim["number"])
            two.send(sim=sim["number"])
        until(lambda: len(one.read(status="queued")) == 3)
        heard = here.hear_all_before_pong() + there.hear_all_before_pong()
        given = [frame["id"] for frame in heard if frame["type"] == "send_sms"]
        assert len(given) == len(set(given)) == 5


def in_parallel(*works: object) -> None:
    threads = [threading.Thread(target=work) for work in works]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_walker_on_either_node_sees_every_message_once_while_both_write(
    pair: tuple[Org, Org],
) -> None:
    walked: dict[str, list[int]] = {}
    writers = 3 * len(pair)
    done = threading.Semaphore(0)

    def write(org: Org) -> None:
        with org.at("127.0.0.1").agent as agent:
            for n in range(25):
                sms = {"org_id": org.id, "messages": [org.sms() for _ in range(1 + n % 3)]}
                assert agent.post("/webhook", json=sms).status_code == 200
                draft = {"to": canaries.number(), "body": canaries.text()}
                assert agent.post(f"/send/{org.id}", json=draft).status_code == 200
        done.release()

    def walk(org: Org) -> None:
        seen: list[int] = []
        ended = False
        with org.at("127.0.0.1").agent as agent:
            while True:
                since = seen[-1] if seen else 0
                answer = agent.get(f"/messages/{org.id}", params={"since_id": since, "limit": 7})
                page = [row["id"] for row in answer.json()["messages"]]
                seen += page
                if not page and ended:
                    break
                ended = all_written.is_set()
        walked[org.url] = seen

    all_written = threading.Event()

    def tell() -> None:
        for _ in range(writers):
            done.acquire()
        all_written.set()

    one, two = pair
    in_parallel(
        tell,
        *[lambda org=org: walk(org) for org in pair],
        *[lambda org=org: write(org) for org in (one, two) * 3],
    )

    stored = [row["id"] for row in one.read(limit=1000)]
    assert len(stored) == len(set(stored)) == writers * (25 + 49)
    assert walked == {one.url: stored, two.url: stored}


def test_of_a_claim_on_both_nodes_at_once_one_wins(nodes: Nodes) -> None:
    for _ in range(3):
        name = f"org-{secrets.token_hex(5)}"
        rivals = [Org(node.url, name, address=new_address()) for node in nodes for _ in range(2)]
        statuses: list[int] = []

        def rush(rival: Org, statuses: list[int] = statuses) -> None:
            with rival.agent:
                statuses.append(rival.store(rival.sms()).status_code)

        in_parallel(*[lambda rival=rival: rush(rival) for rival in rivals])
        assert Counter(statuses) == {200: 1, 401: 3}


def test_a_lock_holds_on_both_nodes(pair: tuple[Org, Org]) -> None:
    bad = [Org(org.url, org.id, canaries.secret(), new_address()) for org in pair]
    with bad[0].agent, bad[1].agent:
        statuses = [each.agent.get(f"/messages/{each.id}").status_code for each in bad * 6]
        assert statuses == [401] * 10 + [429] * 2
    for org in pair:  # where the owner has been before
        assert org.read() == []


def test_a_known_address_is_known_on_both_nodes(pair: tuple[Org, Org]) -> None:
    one, two = pair
    one.read()
    bad = Org(two.url, two.id, canaries.secret(), new_address())
    with bad.agent:
        for _ in range(11):
            status = bad.agent.get(f"/sims/{bad.id}").status_code
        assert status == 429
    assert two.read() == []


def test_sims_shows_the_phones_of_both_nodes(pair: tuple[Org, Org]) -> None:
    one, two = pair
    numbers = [canaries.number() for _ in range(2)]
    with (
        one.phone({"slot": 0, "number": numbers[0]}),
        two.phone({"slot": 1, "number": numbers[1]}),
    ):
        for org in pair:
            told = org.sims()
            assert told["online_devices"] == 2
            assert [sim["number"] for sim in told["live_sims"]] == numbers
            assert {sim["number"] for sim in told["known_sims"]} == set(numbers)
    assert until(lambda: two.sims()["online_devices"] == 0)


def test_a_ticket_from_one_node_reaches_a_phone_on_the_other(pair: tuple[Org, Org]) -> None:
    one, two = pair
    number = canaries.number()
    with two.phone({"slot": 0, "number": number}) as phone:
        answer = one.send(sim=number)
        assert answer["results"][0]["status"] == "queued"
        ticket = answer["results"][0]["id"]
        assert phone.hear()["id"] == ticket  # within a poll
        with one.phone() as other:
            other.confirm(ticket)  # a result may come on any session of the org
            assert two.settled(ticket)["status"] == "sent"
        assert one.row(ticket) == two.row(ticket)


def test_a_retry_on_the_other_node_is_not_stored_again(pair: tuple[Org, Org]) -> None:
    one, two = pair
    sms = one.sms(id=5, date=7)
    assert [org.store(sms).json()["stored"] for org in (one, two, one)] == [1, 1, 1]
    assert len(two.read()) == 1


def test_check_says_that_the_database_answers(external: str) -> None:
    pepper = canaries.secret()
    with new_home() as home:
        run = subprocess.run(
            [sys.executable, "-m", "smsd", "check", "--data-dir", str(home / "data")],
            env=bare_environment(SMSD_DATABASE=external, SMSD_PEPPER=pepper),
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    assert "The database answers: PostgreSQL " in run.stdout
    assert "SMSD_DATABASE" in run.stdout
    assert pepper not in run.stdout


def test_both_nodes_are_ready(nodes: Nodes) -> None:
    for node in nodes:
        with Agent(node.url) as agent:
            assert agent.get("/ready").json()["status"] == "ready"
